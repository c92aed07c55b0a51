"""Prototypes: the global abstract memory on a map of the catalogue, round by round."""

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.palette import colours
from dashboard.charts.prototypes import ALARM, collapse_chart, drift_chart, map_chart, mass_chart, name
from dashboard.client import BackendError, RefusedError
from dashboard.components.connection import client, prototype_book
from dashboard.components.covers import Card, cover_grid
from dashboard.components.drawings import panel
from dashboard.components.job_header import job_header
from dashboard.components.live import JobView, live_job
from dashboard.components.states import empty, trouble
from dashboard.words import is_under_way
from fedmem.contracts import Job, PrototypeRound, RecommendationRequest

AT_FIRST, PER_POLL = 1000, 1
NEAREST, COLD = 5, 10


def prototypes() -> None:
    """What all clients together remember; no client's own memory is ever seen here."""
    st.title("Prototypes")
    live_job(_draw, with_rounds=False)


def _draw(view: JobView) -> None:
    job_header(view)
    if not view.job.config.uses_prototypes:
        empty(
            "This run shares no prototypes",
            "Its configuration switches the global abstract memory off. Choose another job in the sidebar.",
        )
        return
    try:
        rounds = prototype_book().read(view.job, at_most=_questions(view.job))
    except BackendError as error:
        if isinstance(error, RefusedError) and error.status == 404:
            _none_yet(view.job)
        else:
            trouble(error)
    else:
        _show(view.job, rounds)


def _questions(job: Job) -> int:
    """Everything when the page opens, then one round with each poll."""
    key = f"prototypes-open-{job.id}"
    opened = st.session_state.get(key, False)
    st.session_state[key] = True
    return PER_POLL if opened and is_under_way(job) else AT_FIRST


def _none_yet(job: Job) -> None:
    after = max(job.config.evaluation.eval_every, job.config.fedmem.warmup_rounds)
    if is_under_way(job):
        empty("No prototypes yet", f"They come with the first validation after the warm-up, around round {after}.")
    else:
        empty("No prototypes were kept", "The job ended before a validation in which clients had sent some.")


def _show(job: Job, rounds: Sequence[PrototypeRound]) -> None:
    shown = _chosen(rounds)
    _alarm(shown)
    left, right = st.columns([3, 2])
    with left:
        note = (
            "Grey dots are the items, placed by the two main directions of their texts; the map stays the same for "
            "the whole job. A disc is a prototype, its size the share of the memories it stands for, its line the way "
            "it came."
        )
        _map(job, rounds, shown, note)
        panel("Collapse", collapse_chart(rounds), "prototypes-collapse", "Near 1, all prototypes say the same.")
    with right:
        _nearest(job, shown)
    left, right = st.columns(2)
    with left:
        panel("Mass", mass_chart(rounds), "prototypes-mass", "What share of all that clients remember each stands for.")
    with right:
        panel("Drift", drift_chart(rounds), "prototypes-drift", "How far each moved since the evaluation before.")
    _cold(job)


def _map(job: Job, rounds: Sequence[PrototypeRound], shown: PrototypeRound, note: str) -> None:
    try:
        items = prototype_book().map_of(job)
    except RefusedError as error:
        st.caption(f"There is no map of the items: {error}")
    else:
        panel("Map", map_chart(items, rounds, shown), "prototypes-map", note)


def _chosen(rounds: Sequence[PrototypeRound]) -> PrototypeRound:
    """The round of the slider, which follows the newest until the reader moves it."""
    by_number = {each.round: each for each in rounds}
    numbers = list(by_number)
    if len(numbers) == 1:
        return rounds[0]
    if st.session_state.get("prototype-round", numbers[-1]) == st.session_state.get("prototype-newest"):
        st.session_state["prototype-round"] = numbers[-1]
    if st.session_state.get("prototype-round") not in by_number:
        st.session_state["prototype-round"] = numbers[-1]
    st.session_state["prototype-newest"] = numbers[-1]
    return by_number[st.select_slider("After round", numbers, key="prototype-round")]


def _alarm(shown: PrototypeRound) -> None:
    if shown.collapse is not None and shown.collapse >= ALARM:
        st.error(
            f"The prototypes have collapsed: their mean cosine is {shown.collapse:.2f}. They say the same thing, so "
            "the global memory holds one taste instead of several. Fewer prototypes, or a higher surprise threshold, "
            "may help.",
            icon=":material/warning:",
        )


def _nearest(job: Job, shown: PrototypeRound) -> None:
    """Each prototype by what lies nearest to it."""
    with st.container(border=True):
        st.markdown("**What each prototype stands for**", help="The items nearest to it, of the whole catalogue.")
        tints = colours(len(shown.prototypes))
        for prototype in shown.prototypes:
            st.html(
                f'<div><span style="color:{tints[prototype.index]}">●</span> <b>{name(prototype.index)}</b> '
                f'<span style="opacity:.7">{100 * prototype.mass:.0f} % of the mass</span></div>'
            )
            if not prototype.nearest:
                st.caption("Nothing: no client has filled it.")
                continue
            cards = [Card(item.item_id, item.title) for item in prototype.nearest[:NEAREST]]
            cover_grid(cards, job.dataset, "small")


def _cold(job: Job) -> None:
    """What somebody gets of whom nothing is known: the prototypes by their mass."""
    try:
        models = client().models()
        if models.serving is None or models.serving != job.model_version:
            return
        answer = client().recommend_for(RecommendationRequest(history=(), k=COLD, explain=True))
    except BackendError as error:
        st.caption(str(error))
        return
    with st.container(border=True):
        st.markdown(f"**What a user without any history is recommended**, by `{answer.model_version}`")
        if answer.explanation is not None:
            weights = sorted(
                (entry for entry in answer.explanation.memory if entry.prototype is not None),
                key=lambda entry: -sum(entry.weights.values()),
            )
            total = sum(sum(entry.weights.values()) for entry in weights) or 1.0
            read = [f"{name(e.prototype or 0)} {100 * sum(e.weights.values()) / total:.0f} %" for e in weights]
            st.caption(f"Read for it: {', '.join(read)}." if read else "No prototype is read for it.")
        cover_grid(
            [
                Card(item.item_id, item.title, ", ".join(item.genres), rank=place)
                for place, item in enumerate(answer.items, 1)
            ],
            job.dataset,
        )


if __name__ == "__main__":
    prototypes()
