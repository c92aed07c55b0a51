"""Which job the pages are about: chosen in the sidebar, remembered in the URL."""

import streamlit as st

from dashboard.address import whole_number
from dashboard.client import LIMIT
from dashboard.components.connection import client
from dashboard.transport import RefusedError
from fedmem.contracts import Job

AT_ONCE = 50
PROTOTYPE = "prototype"  # in the address: which one of the job's
_CHOICE, _JOBS, _URL, _SHOWN, _CUT = "job", "jobs", "job", "jobs-shown", "jobs-cut"


def choose_job() -> None:
    """Ask for the newest jobs, once a run of the script, and let the reader choose one."""
    page = client().jobs(jobs_shown())
    jobs, st.session_state[_CUT] = page.jobs, page.next is not None
    wanted = _wanted()
    if wanted is not None and wanted not in {job.id for job in jobs}:
        older = _older_job(wanted)
        jobs = (*jobs, older) if older else jobs
    st.session_state[_JOBS] = jobs
    if not jobs:
        st.sidebar.caption("No training job yet.")
        return
    by_id = {job.id: job for job in jobs}
    if st.session_state.get(_CHOICE) not in by_id:
        st.session_state[_CHOICE] = wanted if wanted in by_id else default_job(jobs).id
    st.sidebar.selectbox("Job", list(by_id), key=_CHOICE, format_func=lambda number: _short(by_id[number]))
    _tell(st.session_state[_CHOICE])
    if there_are_older_jobs() and jobs_shown() < LIMIT:
        st.sidebar.button(
            "Older jobs", icon=":material/history:", key="older-jobs", on_click=_show_more, type="tertiary"
        )


def _short(job: Job) -> str:
    """Name a job by what has room in the sidebar."""
    return f"Job {job.id} · {job.dataset}"


def jobs_shown() -> int:
    """Say how many of the newest jobs are asked for."""
    shown: int = st.session_state.get(_SHOWN, AT_ONCE)
    return shown


def there_are_older_jobs() -> bool:
    """Say whether there are more than were asked for."""
    return bool(st.session_state.get(_CUT))


def _show_more() -> None:
    st.session_state[_SHOWN] = min(LIMIT, jobs_shown() + AT_ONCE)


def chosen_job() -> Job | None:
    """Get the job that the page is about."""
    return next((job for job in known_jobs() if job.id == st.session_state.get(_CHOICE)), None)


def known_jobs() -> tuple[Job, ...]:
    """Get the newest jobs, as this run of the script found them."""
    jobs: tuple[Job, ...] = st.session_state.get(_JOBS, ())
    return jobs


def default_job(jobs: tuple[Job, ...]) -> Job:
    """Choose the job that trains, else one that is about to, else the newest that did not fail.

    A paused one may wait for months, and one that failed would hide what the others have found.
    """
    training = [job for job in jobs if job.state == "running"]
    queued = [job for job in jobs if job.state == "queued"]
    others = [job for job in jobs if job.state != "failed"]
    return (training or queued or others or list(jobs))[0]


def choose(job_id: int) -> None:
    """Make the pages speak of this job from the next run on."""
    st.session_state["job_next"] = job_id


def take_up_choice() -> None:
    """Set the choice before its widget is made, while that is still allowed."""
    following = st.session_state.pop("job_next", None)
    if following is not None:
        st.session_state[_CHOICE] = following
        _tell(following)


def _tell(job_id: int) -> None:
    """Write the job into the address, and drop what was chosen of another job."""
    if st.query_params.get(_URL, str(job_id)) != str(job_id):
        st.query_params.pop(PROTOTYPE, None)
    st.query_params[_URL] = str(job_id)


def _wanted() -> int | None:
    return whole_number(st.query_params.get(_URL, ""))


def _older_job(job_id: int) -> Job | None:
    try:
        return client().job(job_id)
    except RefusedError:
        return None
