"""Jobs that appear or change while a page shows something else: the page is drawn anew, once, when there are any."""

import streamlit as st

from dashboard.components.connection import client, settings
from dashboard.components.job_choice import chosen_job, jobs_shown, known_jobs
from dashboard.transport import BackendError

_SEEN = "news-seen"


def look_for_news() -> None:
    """Ask for the jobs now and then, and draw nothing. The job in view draws itself: its news is not news here."""
    viewed = chosen_job()

    @st.fragment(run_every=3 * settings().poll_seconds)
    def look() -> None:
        try:
            now = frozenset(
                (job.id, job.state) for job in client().jobs(jobs_shown()).jobs if viewed is None or job.id != viewed.id
            )
        except BackendError:
            return  # the page says so itself
        if now != st.session_state.get(_SEEN):
            st.session_state[_SEEN] = now
            st.rerun()

    st.session_state[_SEEN] = frozenset(
        (job.id, job.state) for job in known_jobs() if viewed is None or job.id != viewed.id
    )
    look()
