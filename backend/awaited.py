"""What will bring the first model, in a sentence for who asks before it is there."""

from backend.served_models import ServedModels
from fedmem.contracts.jobs import JobState
from fedmem.storage.jobs import JobStore


def awaited(jobs: JobStore) -> str:
    """Name the job that will leave a model, or the model that waits to be put into service."""
    states: tuple[JobState, ...] = ("running", "queued", "paused")
    under_way = (job for state in states for job in jobs.page(state=state, kind="training", limit=1))
    job = next(under_way, None)
    if job is None:
        return _waiting(jobs) or ServedModels.awaited
    paused = "paused " if job.state == "paused" else ""
    reached = "queued" if job.state == "queued" else f"{paused}at round {job.round} of {job.num_rounds}"
    return f"job {job.id}, of the data set {job.dataset!r}, is {reached}; its model answers when it has succeeded"


def _waiting(jobs: JobStore) -> str | None:
    """Say which model is ready and waits, where the newest training job has left one that does."""
    job = next(iter(jobs.page(kind="training", limit=1)), None)
    if job is None or job.held_back is None:
        return None
    serve = f"POST /models/{job.model_version}/activate serves it all the same"
    return f"model {job.model_version} is ready and waits: {job.held_back}; {serve}"
