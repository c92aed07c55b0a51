"""The transition memory of a job: how it grew, its strongest rows by title, and the row of any item."""

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.memory import growth_chart, transitions_chart
from dashboard.charts.weights import strength_chart, weights_in_use
from dashboard.components.connection import client
from dashboard.components.drawings import panel
from dashboard.components.live import JobView
from dashboard.components.tables import words_table
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError, RefusedError
from dashboard.words import is_under_way
from fedmem.contracts import Job, TransitionRow

FOUND, FOLLOWERS = 20, 20  # titles that are offered, items of a row that is looked for
GROWTH = {"transition_pairs": "Pairs of items (number)", "transition_interactions": "Interactions handed on (number)"}
SUM = (
    "The transition memory: how often one item came soon after another, in sums over the clients. Items with fewer "
    "than 5 interactions are not shown."
)
OTHERS = (
    "The table counts what this model answers by: what was held out to test it and what came since as well. The curves "
    "count training alone, so that they may name other items, in another order."
)
GREW = (
    "Sums over the clients that had taken part by a round, in training, without users who were deleted since. Rounds "
    "before which fewer than 5 interactions with the item were added are left out."
)
CHOSEN = (
    "Each validation chooses it anew, apart for users with few items; 0 means that it is not read. Lines of equal "
    "weights are drawn side by side."
)
COUNTED = (
    "This model answers by {:,} interactions: those it was trained with, those held out to test it, and all "
    "that came since."
)


def transitions(view: JobView) -> None:
    """Show the growth from the rounds and, if the job's model is in memory, what follows what."""
    st.subheader("What follows what")
    if not view.job.config.uses_transitions:
        st.caption(
            "This run keeps no transitions: its configuration switches them off (`ablation.disable_transitions` or "
            "`ablation.disable_memory`). Choose another job."
        )
        return
    st.caption(SUM)
    for place, (name, title) in zip(st.columns(2), GROWTH.items(), strict=True):
        with place:
            panel(title.partition(" (")[0], transitions_chart(view.trained, name, title), f"memory-{name}")
    panel("Its weight", strength_chart(view.trained), "memory-strength", CHOSEN)
    if in_use := weights_in_use(view.trained, view.job.best_round):
        st.markdown(in_use)
    _rows(view.job)


def _rows(job: Job) -> None:
    """Show the rows of the job's model; the backend says what to do where it is not in memory, or reads none."""
    if job.model_version is None:
        after = "when the job ends" if is_under_way(job) else "with a model, and this job ended before it had one"
        st.caption(f"Its rows can be seen {after}.")
        return
    try:
        strongest = client().transitions(job.model_version)
        st.caption(COUNTED.format(strongest.interactions))
        _table(strongest.rows)
        item_id = _one(job, job.model_version) or next((row.item_id for row in strongest.rows), None)
        if item_id is not None:
            _growth(job, item_id)
    except BackendError as error:
        st.caption(in_markdown(error))


def _table(rows: Sequence[TransitionRow]) -> None:
    st.markdown("**The strongest rows**, by the weight of all that is in them")
    if not rows:
        st.caption("No item has enough interactions yet.")
        return
    words_table(
        [
            {
                "After": f"{place}. {row.title}",
                "Weight": f"{row.weight:.1f}",
                "Interactions": f"{row.taken:,}",
                "Others took next": ", ".join(item.title for item in row.followers),
            }
            for place, row in enumerate(rows, 1)
        ]
    )


def _one(job: Job, model: str) -> str | None:
    """Ask for an item by its title, kept in the URL, show its row, and return its id."""
    query = st.text_input("What follows an item", key="after", bind="query-params", placeholder="part of a title")
    if not query:
        return None
    found = {item.item_id: item.title for item in client().items(query, FOUND, job.dataset).items}
    if not found:
        st.caption(f"No title contains “{in_markdown(query)}”.")
        return None
    item_id = st.selectbox("Item", list(found), format_func=found.__getitem__, key=f"after-{query}")
    rows = client().transitions(model, item_id, FOLLOWERS).rows
    followers = [
        {"Others took next": item.title, "Weight": f"{item.weight:.3f}"} for row in rows for item in row.followers
    ]
    if not followers:
        st.caption("Too few interactions for a row that can be shown.")
        return None
    words_table(followers)
    return item_id


def _growth(job: Job, item_id: str) -> None:
    """Show how a row grew over the job's rounds; the backend says why where it is not known."""
    try:
        found = client().growth(job.id, item_id)
    except RefusedError as error:
        st.caption(in_markdown(error))
        return
    title = f"How the row after {in_markdown(found.title)} grew"
    if found.followers:
        panel(title, growth_chart(found), "memory-growth", GREW)
        st.caption(OTHERS)
    else:
        st.caption(f"{title}: too few interactions for a curve that can be shown.")
