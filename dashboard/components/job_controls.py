"""Pause, resume and stop: what the user may ask of a job, by its state."""

from collections.abc import Callable

import streamlit as st

from dashboard.components.connection import client
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from dashboard.words import is_under_way
from fedmem.contracts import Job

WIDTH = 130
_TROUBLE, _QUESTION = "control-trouble", "stop-question"


def job_controls(job: Job) -> None:
    """Show the buttons that make sense now; what the backend refuses is said until the reader has read it.

    Each keeps its place and its width in all states, so that none moves away under the finger.
    """
    stopping = job.desired_state == "stopped"
    waits = job.state == "paused" or job.desired_state == "paused"
    if is_under_way(job) and not stopping:
        with st.container(horizontal=True):
            if waits:
                _button("Resume", ":material/play_arrow:", job, client().resume, primary=True)
            else:
                _button("Pause", ":material/pause:", job, client().pause)
            st.button(
                "Stop", icon=":material/stop:", key=f"stop-{job.id}", on_click=_question, args=(job.id,), width=WIDTH
            )
        # Asked in every run until it is answered: the page runs anew with every poll.
        if st.session_state.get(_QUESTION) == job.id:
            _confirm_stop(job)
    trouble = st.session_state.pop(_TROUBLE, None)
    if trouble:  # not drawn in its place, where the next poll would take it away
        st.toast(in_markdown(trouble), icon=":material/error:", duration="infinite")


def _button(label: str, icon: str, job: Job, ask: Callable[[int], Job], *, primary: bool = False) -> None:
    st.button(
        label,
        icon=icon,
        key=f"{label.lower()}-{job.id}",
        type="primary" if primary else "secondary",
        on_click=_ask,
        args=(ask, job.id),
        width=WIDTH,
    )


def _ask(ask: Callable[[int], Job], job_id: int) -> None:
    try:
        ask(job_id)
    except BackendError as error:
        st.session_state[_TROUBLE] = str(error)


def _question(job_id: int) -> None:
    st.session_state[_QUESTION] = job_id


def _answered() -> None:
    st.session_state.pop(_QUESTION, None)


def _stop(job_id: int) -> None:
    _answered()
    _ask(client().stop, job_id)


@st.dialog("Stop this job?", on_dismiss=_answered)
def _confirm_stop(job: Job) -> None:
    st.markdown(
        f"Job {job.id} ends after the clients in progress, with a checkpoint of round {job.round}. It cannot be "
        "resumed; a new job may start from its checkpoint. To go on later with the same job, pause it instead."
    )
    with st.container(horizontal=True):
        stopped = st.button(
            "Stop the job",
            icon=":material/stop:",
            key=f"confirm-stop-{job.id}",
            on_click=_stop,
            args=(job.id,),
        )
        kept = st.button("Keep it going", type="primary", key=f"keep-{job.id}", on_click=_answered)
    if stopped or kept:
        st.rerun()
