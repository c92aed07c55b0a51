"""A job as it is now, drawn again while there is news: at most two questions to the backend each time, for one job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.components.connection import client, round_book, settings
from dashboard.components.job_choice import chosen_job
from dashboard.components.states import no_job_yet, said_last, trouble
from dashboard.transport import BackendError
from dashboard.words import is_under_way
from fedmem.contracts import Job, RoundMetrics


@dataclass(frozen=True)
class JobView:
    """A job and its rounds; the page draws nothing but this."""

    job: Job
    rounds: tuple[RoundMetrics, ...]

    @property
    def trained(self) -> tuple[RoundMetrics, ...]:
        """Leave out the start."""
        return tuple(each for each in self.rounds if each.round > 0)


def live_job(draw: Callable[[JobView], None], *, with_rounds: bool = True) -> None:
    """Draw the chosen job, and again every few seconds while it is under way."""
    job = chosen_job()
    if job is None:
        no_job_yet()
        return
    live(job, draw, with_rounds=with_rounds)


def live(job: Job, draw: Callable[[JobView], None], *, with_rounds: bool = True, beside: Sequence[Job] = ()) -> None:
    """Draw a job now and while it, or one beside it, is under way; its end draws the whole page anew, once.

    Everything that depends on its state is drawn here. What stands above it on the page must take the same number of
    places in every run: a fragment is known by its place, and Streamlit drops a click on one that has moved since.
    """
    moves = any(map(is_under_way, (job, *beside)))

    @st.fragment(run_every=settings().poll_seconds if moves else None)
    def body() -> None:
        key, missed = f"view-{job.id}-{with_rounds}", None
        try:
            st.session_state[key] = latest(job, with_rounds=with_rounds)
        except BackendError as error:
            missed = error
            if key not in st.session_state:
                trouble(error)
                return
        view: JobView = st.session_state[key]
        draw(view)
        if missed is not None:
            said_last(missed)
        elif is_under_way(job) and not is_under_way(view.job):
            st.rerun()

    body()


def latest(job: Job, *, with_rounds: bool = True) -> JobView:
    """Get the job as it is now."""
    now = client().job(job.id) if is_under_way(job) else job
    return JobView(now, round_book().read(now) if with_rounds else ())
