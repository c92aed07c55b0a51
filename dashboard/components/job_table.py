"""Jobs as a table."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard.progress import share_done
from dashboard.words import job_name, state_of
from fedmem.contracts import Job


def job_table(jobs: Sequence[Job]) -> None:
    """Show the newest jobs, one per row."""
    rows = [
        {
            "Job": job_name(job),
            "Data set": job.dataset,
            "State": state_of(job),
            "Progress": round(share_done(job), 2),
            "Rounds": f"{job.round} of {job.num_rounds}",
            "Best round": "–" if job.best_round is None else str(job.best_round),
            "Queued": job.created_at,
            "Purpose": {"training": "service", "experiment": "experiment"}[job.kind],
        }
        for job in jobs
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        column_config={
            "Progress": st.column_config.ProgressColumn("Progress", min_value=0.0, max_value=1.0, format="percent"),
            "Queued": st.column_config.DatetimeColumn("Queued (UTC)", format="D MMM, HH:mm"),
        },
    )
