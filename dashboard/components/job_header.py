"""What a job is and how far it is: the top of every page about a job."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from dashboard.components.live import JobView
from dashboard.plain_text import in_markdown
from dashboard.progress import progress_line, share_done
from dashboard.words import ago, duration, job_name, state_of
from fedmem.contracts import Job
from fedmem.training_warnings import training_warnings

Colour = Literal["blue", "green", "red", "orange", "gray", "violet"]
COLOURS: dict[str, Colour] = {
    "queued": "gray",
    "running": "blue",
    "pausing": "orange",
    "paused": "orange",
    "stopping": "orange",
    "stopped": "gray",
    "failed": "red",
    "succeeded": "green",
}
ICONS = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/play_circle:",
    "pausing": ":material/pause_circle:",
    "paused": ":material/pause_circle:",
    "stopping": ":material/stop_circle:",
    "stopped": ":material/stop_circle:",
    "failed": ":material/error:",
    "succeeded": ":material/check_circle:",
}


def job_header(view: JobView) -> None:
    """Show name and state, progress, and in one line how fast it goes or why it ended."""
    job = view.job
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{job_name(job)}** on {in_markdown(job.dataset)}", width="content")
        badge(job)
    st.progress(share_done(job), text=progress_line(job, view.rounds))
    if job.state == "failed":
        reason = in_markdown(job.message or "It failed without a message; the System page shows its log.")
        st.error(reason, icon=":material/error:")
    else:
        st.caption(_times(job))
    if job.model_waits:
        st.warning(
            f"Its model is ready and waits: {in_markdown(job.model_waits)}. "
            "The System page can put it into service all the same.",
            icon=":material/hourglass_top:",
        )
    _troubles(view)
    if job.config_refused:
        st.caption(
            f":orange[:material/warning:] Another version of FedMem stored this job's configuration. This one does not "
            f"know {_listed(job.config_refused)}, and shows its own defaults there."
        )


def _troubles(view: JobView) -> None:
    """Warn of what is wrong with the training, as its log does."""
    if not view.trained:
        return
    last = view.trained[-1]
    found = training_warnings(view.job.config, last.round, view.job.best_round, last.metrics.get("train", {}))
    if found:
        st.warning("\n\n".join(map(in_markdown, found.values())), icon=":material/warning:")


def badge(job: Job) -> None:
    """Show the state as a coloured word."""
    state = state_of(job)
    st.badge(state, icon=ICONS[state], color=COLOURS[state])


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(map(in_markdown, keys))


def _times(job: Job) -> str:
    if job.finished_at is not None:
        taken = f" after {duration((job.finished_at - job.started_at).total_seconds())}" if job.started_at else ""
        reason = f": {in_markdown(job.message)}" if job.message else ""
        return f"Ended {ago(job.finished_at)}{taken}{reason}."
    if job.started_at is not None:
        return f"Started {ago(job.started_at)}."
    return f"Queued {ago(job.created_at)}."
