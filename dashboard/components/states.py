"""What a page shows when it has nothing to show: what to do next, or what is wrong and that it is being retried."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from dashboard.components.connection import client, settings
from dashboard.plain_text import in_markdown
from dashboard.progress import PHASES
from dashboard.transport import BackendAwayError, BackendError, RefusedError
from dashboard.words import is_under_way, state_of
from fedmem.contracts import Job

RETRY_SECONDS = 3.0
MOST_JOBS = 50  # among which the one is looked for that brings the first model
FIRST_MODEL = (
    "A training job puts its best model into service when it is done; on the demo catalogue it takes a minute or two."
)


def empty(title: str, text: str, icon: str = ":material/info:") -> None:
    """Show an empty state: what is missing, and what to do next."""
    with st.container(border=True):
        st.markdown(f"#### {icon} {title}")
        st.markdown(text)


def no_job_yet() -> None:
    """Say that nothing was ever trained."""
    empty(
        "No training job yet",
        "Everything on this page comes from a training job. Start one here, or queue one with `POST /jobs`; "
        "its rounds appear as they finish.",
        ":material/model_training:",
    )
    start_a_job()


def start_a_job() -> None:
    """Link to the form."""
    st.page_link(
        "views/training.py", label="Start a training job", icon=":material/play_arrow:", query_params={"new": "1"}
    )


def no_model_yet(icon: str) -> None:
    """Say which job will bring the first model, or how to get one; the page is drawn anew once one is in service."""

    @st.fragment(run_every=max(RETRY_SECONDS, settings().poll_seconds))
    def look() -> None:
        try:
            if client().models().in_service:
                st.rerun()
            under_way = [job for job in client().jobs(MOST_JOBS).jobs if is_under_way(job) and job.kind == "training"]
        except BackendError:
            return  # the page says so once it is drawn anew
        if under_way:
            empty("No model is in service yet", _awaited(under_way[-1]), icon)
        else:
            empty("No model is in service yet", FIRST_MODEL, icon)
            start_a_job()

    look()


def _awaited(job: Job) -> str:
    """Say how far the job is that brings the first model, and what it does beside its rounds."""
    doing = f": {PHASES[job.phase]}" if job.phase in PHASES else ""
    return (
        f"Job {job.id} is {state_of(job)}, at round {job.round} of {job.num_rounds}{doing}. Its model goes into "
        "service when it is done, and this page shows it by itself."
    )


def waiting_for_rounds(state: str) -> None:
    """Say why a job has no round yet."""
    text = {
        "queued": "A trainer takes it up as soon as one is free. If none runs, start one: `fedmem trainer`.",
        "running": "The data is being read and the texts are being encoded; the first round follows.",
    }.get(state, "It ended before its first round. The System page shows its log.")
    empty("No round has finished yet", text, ":material/hourglass_empty:")


@contextmanager
def backend_needed(part: str = "page") -> Iterator[None]:
    """Show what went wrong with the backend in place of a part of the page, until the backend answers again."""
    try:
        yield
    except BackendError as error:
        trouble(error, part)


def trouble(error: BackendError, part: str = "page") -> None:
    """Show the error state of a page, or of one of several parts, until the backend answers again."""
    if isinstance(error, BackendAwayError):
        st.error(
            f"{in_markdown(error)} Is it running? `fedmem up` and `fedmem serve` start it.", icon=":material/cloud_off:"
        )
        _come_back("This page comes back by itself as soon as the backend answers.")
    else:
        st.error(in_markdown(error), icon=":material/error:")
        if isinstance(error, RefusedError) and error.passes:
            _come_back("This page asks again by itself, every few seconds.")
        else:
            st.button("Try again", icon=":material/refresh:", key=f"try-again-{part}")


def said_last(error: BackendError) -> None:
    """Say that the page shows earlier answers, over its corner, so that nothing below moves."""
    with st.container(key="said-last"):
        st.warning(
            f"{in_markdown(error)} You see what it said last; this goes on by itself.", icon=":material/cloud_off:"
        )


def _come_back(promise: str) -> None:
    """Draw the page anew once the backend's process answers; if the trouble is still there, this begins again."""
    st.caption(promise)
    drawn = time.monotonic()

    @st.fragment(run_every=max(RETRY_SECONDS, settings().poll_seconds))
    def ask() -> None:
        if time.monotonic() - drawn < RETRY_SECONDS / 2:
            return  # this is the run that has just failed
        try:
            client().live()
        except BackendError:
            return
        st.rerun()

    ask()
