"""Jobs as a table."""

from collections.abc import Sequence
from datetime import UTC, datetime

from dashboard.components.tables import Bar, words_table
from dashboard.progress import share_done
from dashboard.words import job_name, state_of
from fedmem.contracts import Job
from fedmem.times import written

ASIDE = ("Progress", "Best round", "Purpose")
PURPOSES = {"training": "service", "experiment": "experiment"}


def job_table(jobs: Sequence[Job]) -> None:
    """Show the newest jobs, one per row."""
    words_table([_row(job) for job in jobs], aside=ASIDE)


def _row(job: Job) -> dict[str, str | Bar]:
    done = share_done(job)
    return {
        "Job": job_name(job),
        "Data set": job.dataset,
        "State": state_of(job),
        "Progress": Bar(done, f"{done:.0%}"),
        "Rounds": f"{job.round} of {job.num_rounds}",
        "Best round": "–" if job.best_round is None else str(job.best_round),
        "Queued (UTC)": written(job.created_at, datetime.now(UTC)),
        "Purpose": PURPOSES[job.kind],
    }
