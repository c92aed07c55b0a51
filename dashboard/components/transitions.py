"""The transition memory of a job: how it grew, its strongest rows by title, and the row of any item."""

import pandas as pd
import streamlit as st

from dashboard.charts.memory import strength_chart, transitions_chart
from dashboard.client import BackendError
from dashboard.components.connection import client
from dashboard.components.drawings import panel
from dashboard.components.live import JobView
from dashboard.plain_text import in_markdown
from dashboard.words import is_under_way
from fedmem.contracts import Job

FOUND, FOLLOWERS = 20, 20  # titles that are offered, items of a row that is looked for
GROWTH = {"transition_pairs": "Pairs of items (number)", "transition_interactions": "Interactions handed on (number)"}
SUM = (
    "The transition memory: how often one item came soon after another, in sums over the clients. Items with fewer "
    "than 5 interactions are not shown."
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
    first, second, third = st.columns(3)
    for place, (name, title) in zip((first, second), GROWTH.items(), strict=True):
        with place:
            panel(title.partition(" (")[0], transitions_chart(view.trained, name, title), f"memory-{name}")
    with third:
        panel("Its weight", strength_chart(view.trained), "memory-strength", "Chosen by each validation; 0 is unread.")
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
        _table([[row.title, row.taken, ", ".join(item.title for item in row.followers)] for row in strongest.rows])
        _one(job, job.model_version)
    except BackendError as error:
        st.caption(in_markdown(error))


def _table(rows: list[list[object]]) -> None:
    st.markdown("**The strongest rows**")
    if rows:
        columns = ["After", "Interactions", "Others took next"]
        st.dataframe(pd.DataFrame(rows, columns=columns), hide_index=True, width="stretch")
    else:
        st.caption("No item has enough interactions yet.")


def _one(job: Job, model: str) -> None:
    """Ask for an item by its title, kept in the URL, and show its row."""
    query = st.text_input("What follows an item", key="after", bind="query-params", placeholder="part of a title")
    if not query:
        return
    found = {item.item_id: item.title for item in client().items(query, FOUND, job.dataset).items}
    if not found:
        st.caption(f"No title contains “{in_markdown(query)}”.")
        return
    item_id = st.selectbox("Item", list(found), format_func=found.__getitem__, key=f"after-{query}")
    rows = client().transitions(model, item_id, FOLLOWERS).rows
    followers = [[item.title, item.weight] for row in rows for item in row.followers]
    if not followers:
        st.caption("Too few interactions for a row that can be shown.")
        return
    table = pd.DataFrame(followers, columns=["Others took next", "Weight"])
    st.dataframe(table.round(3), hide_index=True, width="stretch")
