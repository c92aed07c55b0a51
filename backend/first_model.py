"""What leads to a first model: a sentence for callers who ask before there is one."""

from backend.damaged_rows import DAMAGE
from backend.job_phase import phase_of
from backend.stored_config import read_config
from fedmem.contracts.jobs import JobState
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.jobs import JobRow, JobStore


def first_model_hint(jobs: JobStore, catalogue: CatalogueStore, dataset: str | None = None) -> str:
    """Name the job that will leave a model, or the model that waits; of a data set, or of any."""
    states: tuple[JobState, ...] = ("running", "queued", "paused")
    under_way = (job for state in states for job in jobs.page(state=state, kind="training", dataset=dataset, limit=1))
    job = next(under_way, None)
    if job is None:
        return _waiting(jobs, dataset) or _to_do(catalogue)
    name, reached = f"job {job.id}, of the data set {job.dataset!r}", f"at round {job.round} of {job.num_rounds}"
    return f"{name}, is {_doing(job, reached)}; its model answers when it has succeeded"


def _doing(job: JobRow, reached: str) -> str:
    """Say what a job does, and how far it is; what takes long beside its rounds is named."""
    if job.state != "running":
        return {"queued": "queued", "paused": f"paused {reached}"}[job.state]
    try:
        phase = phase_of(job, read_config(job.config)[0])
    except DAMAGE:
        return reached
    doing = {
        "preparing": f": its data is read and its texts are encoded, which may take minutes (GET /jobs/{job.id}/logs)",
        "testing": ": its best model is tested and judged",
    }
    return reached + doing.get(str(phase), "")


def _waiting(jobs: JobStore, dataset: str | None) -> str | None:
    """Say which model is ready and waits, where the newest training job has left one that does."""
    job = next(iter(jobs.page(kind="training", dataset=dataset, limit=1)), None)
    if job is None or job.held_back is None:
        return None
    serve = f"POST /models/{job.model_version}/activate serves it all the same"
    return f"model {job.model_version} is ready and waits: {job.held_back}; {serve}"


def _to_do(catalogue: CatalogueStore) -> str:
    if not catalogue.datasets():
        return "import data (fedmem data import PATH), then queue a training job"
    return "queue a training job with POST /jobs and let it finish"
