"""An ended job removed with what it left: shown first, and asked."""

import streamlit as st

from dashboard.components.confirmation import Confirmation
from dashboard.components.connection import client
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from dashboard.words import is_under_way, job_label, size
from fedmem.contracts import Job, RemovableJob

REMOVAL = Confirmation(
    "remove-job",
    "Remove this job for good?",
    "Remove the job",
    lambda number: client().delete_job(int(number)),
    destroys=True,
)


def job_removal(job: Job) -> None:
    """Offer to remove a job that has ended; what that frees, or why it cannot be, is said before it is done."""
    if is_under_way(job):
        return
    with st.expander("Remove this job", icon=":material/delete:"):
        try:
            found = client().removable(job.id)
        except BackendError as error:
            st.caption(in_markdown(error))
            return
        st.markdown(_goes(found))
        st.button(
            "Remove the job", icon=":material/delete:", key="remove-job", on_click=REMOVAL.ask, args=(str(job.id),)
        )
    if REMOVAL.about == str(job.id):
        REMOVAL.draw(f"**{in_markdown(job_label(job))}** goes for good. {_goes(found)}")


def _goes(found: RemovableJob) -> str:
    model = "" if found.model_version is None else f", its model {in_markdown(found.model_version)}"
    return (
        f"With it go {found.rounds:,} rounds of metrics, its log{model} and its checkpoints: {size(found.size)} on the "
        "disk. Jobs that went on from it stay."
    )
