"""What a page shows when it has nothing to show: what to do next, or what is wrong and that it is being retried."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from dashboard.client import BackendAwayError, BackendError
from dashboard.components.connection import client, settings

RETRY_SECONDS = 3.0


def empty(title: str, text: str, icon: str = ":material/info:") -> None:
    """An empty state: what is missing, and what to do next."""
    with st.container(border=True):
        st.markdown(f"#### {icon} {title}")
        st.markdown(text)


def no_job_yet() -> None:
    """Nothing was ever trained."""
    empty(
        "No training job yet",
        "Everything on this page comes from a training job. Start one here, or queue one with `POST /jobs`; "
        "its rounds appear as they finish.",
        ":material/model_training:",
    )
    st.page_link(
        "views/training.py", label="Start a training job", icon=":material/play_arrow:", query_params={"new": "1"}
    )


def waiting_for_rounds(state: str) -> None:
    """A job that has no round yet."""
    text = {
        "waiting": "A trainer takes it up as soon as one is free. If none runs, start one: `fedmem trainer`.",
        "running": "The data is being read and the texts are being encoded; the first round follows.",
    }.get(state, "It ended before its first round. The System page shows its log.")
    empty("No round has finished yet", text, ":material/hourglass_empty:")


@contextmanager
def backend_needed() -> Iterator[None]:
    """Shows what went wrong with the backend instead of what was to be shown, and comes back when the backend does."""
    try:
        yield
    except BackendError as error:
        trouble(error)


def trouble(error: BackendError) -> None:
    """The error state of a page; it ends when the backend answers again."""
    if isinstance(error, BackendAwayError):
        st.error(f"{error} Is it running? `fedmem up` and `fedmem serve` start it.", icon=":material/cloud_off:")
        st.caption("This page comes back by itself as soon as the backend answers.")
        _come_back()
    else:
        st.error(str(error), icon=":material/error:")
        st.button("Try again", icon=":material/refresh:")


def _come_back() -> None:
    @st.fragment(run_every=max(RETRY_SECONDS, settings().poll_seconds))
    def ask() -> None:
        try:
            client().live()
        except BackendError:
            return
        st.rerun()

    ask()
