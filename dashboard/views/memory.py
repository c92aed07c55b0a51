"""Memory: what clients find surprising and keep, how the experts read it, and what they have handed on together."""

import streamlit as st

from dashboard.charts.memory import (
    entropy_chart,
    gates_chart,
    occupancy_chart,
    surprise_chart,
    surprise_histogram,
    writing_chart,
    written_chart,
)
from dashboard.components.drawings import panel
from dashboard.components.job_header import job_header
from dashboard.components.live import JobView, live_job
from dashboard.components.shares import shares
from dashboard.components.states import empty, waiting_for_rounds
from dashboard.components.transitions import transitions
from dashboard.words import state_of

_SPREAD = "The line is the median position; the dark band holds the middle half, the light one nine tenths of them."
_OPEN = "The last bar holds all that is above."


def memory() -> None:
    """Show sums and quantiles over the clients' memories; their content stays on the devices; and what follows what."""
    st.title("Memory")
    live_job(_draw)


def _draw(view: JobView) -> None:
    job_header(view)
    if not view.job.config.uses_memory:
        empty(
            "This run keeps no memory of surprising items",
            "Its experts or its local memory are off. What follows what stands below, where it is remembered.",
        )
    elif view.trained:
        _warm_up(view)
        _charts(view)
    if view.trained:
        shares(view)
        transitions(view)
    else:
        waiting_for_rounds(state_of(view.job))


def _warm_up(view: JobView) -> None:
    warm_up = view.job.config.fedmem.warmup_rounds
    if view.job.round <= warm_up:
        st.info(
            f"Nothing is written in the first {warm_up} rounds, because an untrained model is surprised by everything.",
            icon=":material/info:",
        )


def _charts(view: JobView) -> None:
    config, rounds = view.job.config.fedmem, view.trained
    left, right = st.columns(2)
    with left:
        panel("Surprise", surprise_chart(rounds, config), "memory-surprise", _SPREAD)
    with right:
        histogram = surprise_histogram(rounds[-1], config)
        panel(f"Surprise in round {rounds[-1].round}", histogram, "memory-histogram", _OPEN)
    first, second, third = st.columns(3)
    with first:
        panel("Occupancy", occupancy_chart(rounds, config.memory_capacity), "memory-occupancy")
    with second:
        panel("Written and evicted", writing_chart(rounds), "memory-writing")
    with third:
        panel("Share of positions written", written_chart(rounds), "memory-written")
    left, right = st.columns(2)
    with left:
        panel("Weights of the experts", gates_chart(rounds), "memory-gates", "A router weighs them for each user.")
    with right:
        panel("How evenly the experts are used", entropy_chart(rounds), "memory-entropy")


if __name__ == "__main__":
    memory()
