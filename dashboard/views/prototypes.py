"""Prototypes: the global abstract memory on a map of the catalogue, round by round."""

from collections.abc import Sequence

import streamlit as st

from dashboard.address import whole_number
from dashboard.charts.palette import colours, on_page
from dashboard.charts.prototype_map import map_chart
from dashboard.charts.prototypes import ALARM, collapse_chart, drift_chart, mass_chart, name
from dashboard.components.connection import client, prototype_book
from dashboard.components.covers import Card, cover_grid
from dashboard.components.drawings import panel
from dashboard.components.job_header import job_header
from dashboard.components.live import JobView, live_job
from dashboard.components.one_prototype import NEAREST, UNKNOWN_USER, nearest, one_prototype
from dashboard.components.states import empty, trouble
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError, RefusedError
from dashboard.words import is_under_way
from fedmem.contracts import Job, PrototypeRound, RecommendationResponse

AT_FIRST, PER_POLL = 1000, 1
_SLIDER, _NEWEST = "prototype-round", "prototype-newest"


def prototypes() -> None:
    """Show what all clients together remember; no client's own memory is ever seen here."""
    st.title("Prototypes")
    live_job(_draw, with_rounds=False)


def _draw(view: JobView) -> None:
    job_header(view)
    if view.job.config.uses_prototypes:
        _read(view)
    else:
        empty(
            "This run shares no prototypes",
            "Its configuration switches the memory of surprising items off. Choose another job in the sidebar.",
        )
    if view.job.config.uses_transitions:
        st.page_link(
            "views/memory.py",
            label="The Memory page shows what follows what, summed over all users",
            icon=":material/arrow_forward:",
            query_params={"job": str(view.job.id)},
        )


def _read(view: JobView) -> None:
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
    """Ask for everything when the page opens, then one round with each poll."""
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
    with st.container():  # one place, whatever there is in it: what moves down the page would be drawn anew
        shown = _round(rounds)
        _alarm(shown)
    with st.container(key="map"):
        left, right = st.columns([3, 2])
    with right:
        chosen = one_prototype(job, shown)
    with left:
        _map(job, rounds, shown, chosen)
        panel("Collapse", collapse_chart(rounds), "prototypes-collapse", "Near 1, all prototypes say the same.")
    _all(job, shown)
    left, right = st.columns(2)
    with left:
        panel("Mass", mass_chart(rounds), "prototypes-mass", "What share of all that clients remember each stands for.")
    with right:
        panel("Drift", drift_chart(rounds), "prototypes-drift", "How far each moved since the evaluation before.")
    _unknown_user(job)


def _round(rounds: Sequence[PrototypeRound]) -> PrototypeRound:
    """Choose the round by a slider that follows the newest until the reader moves it; then the address has it."""
    by_number = {each.round: each for each in rounds}
    numbers = list(by_number)
    if len(numbers) == 1:
        return rounds[0]
    known, given = st.session_state.get(_SLIDER), st.query_params.get("round", "")
    if known is None and (wanted := whole_number(given)) is not None:
        st.session_state[_SLIDER] = wanted
    elif known == st.session_state.get(_NEWEST):
        st.session_state[_SLIDER] = numbers[-1]
    if st.session_state.get(_SLIDER) not in by_number:
        st.session_state[_SLIDER] = numbers[-1]
    st.session_state[_NEWEST] = numbers[-1]
    chosen = st.select_slider("After round", numbers, key=_SLIDER)
    if chosen == numbers[-1]:
        st.query_params.pop("round", None)
    else:
        st.query_params["round"] = str(chosen)
    kept = len(rounds[-1].rounds)
    if kept > len(numbers):
        st.caption(f"{len(numbers)} of {kept} evaluated rounds are shown.")
    return by_number[chosen]


def _map(job: Job, rounds: Sequence[PrototypeRound], shown: PrototypeRound, chosen: int | None) -> None:
    note = (
        "Grey dots are the items, placed by the two main directions of their texts; the map stays the same for the "
        "whole job. A disc is a prototype, its size the share of the memories it stands for, its line the way it came. "
        "Drag pans, Shift and the wheel zoom, a double-click shows everything again."
    )
    try:
        items = prototype_book().map_of(job)
    except BackendError as error:
        st.caption(f"There is no map of the items: {in_markdown(error)}")
    else:
        panel("Map", map_chart(items, rounds, shown, chosen), "prototypes-map", note)


def _alarm(shown: PrototypeRound) -> None:
    if shown.collapse is not None and shown.collapse >= ALARM:
        st.error(
            f"The prototypes have collapsed: their mean cosine is {shown.collapse:.2f}. They say the same thing, so "
            "the global memory holds one taste instead of several. Fewer prototypes, or a higher surprise threshold, "
            "may help.",
            icon=":material/warning:",
        )


def _all(job: Job, shown: PrototypeRound) -> None:
    """Show each prototype by what lies nearest to it."""
    with st.container(border=True):
        st.markdown("**What each prototype stands for**", help=f"The {NEAREST} items of the catalogue nearest to it.")
        tints = colours(len(shown.prototypes))
        for first in range(0, len(shown.prototypes), 2):  # row by row, for a narrow window shows columns one by one
            pair = shown.prototypes[first : first + 2]
            for place, prototype in zip(st.columns(2, gap="medium"), pair, strict=False):
                with place:
                    head = (
                        f'<div><span style="color:{tints[prototype.index]}">●</span> <b>{name(prototype.index)}</b> '
                        f"{100 * prototype.mass:.0f} % of the mass</div>"
                    )
                    st.html(on_page(head, st.context.theme.type))
                    nearest(prototype, job)


def _unknown_user(job: Job) -> None:
    """Show what an unknown user gets: the prototypes are read by their mass."""
    try:
        if job.model_version not in [one.model_version for one in client().models().in_service]:
            return  # said above already
        answer = client().recommend_for(UNKNOWN_USER, job.dataset)
    except BackendError as error:
        st.caption(in_markdown(error))
        return
    with st.container(border=True):
        st.markdown(f"**What all together recommend to a new user**, by {in_markdown(answer.model_version)}")
        read = _weights(answer)
        st.caption(f"Read for it: {', '.join(read)}." if read else "No prototype is read for it.")
        cards = [
            Card(item.item_id, item.title, ", ".join(item.genres), f"{item.score:.2f}", place)
            for place, item in enumerate(answer.items, 1)
        ]
        cover_grid(cards, job.dataset)


def _weights(answer: RecommendationResponse) -> list[str]:
    """List how much each prototype was read, most first."""
    memory = () if answer.explanation is None else answer.explanation.memory
    read = {entry.prototype: sum(entry.weights.values()) for entry in memory if entry.prototype is not None}
    total = sum(read.values()) or 1.0
    return [f"{name(index)} {100 * read[index] / total:.0f} %" for index in sorted(read, key=lambda k: -read[k])]


if __name__ == "__main__":
    prototypes()
