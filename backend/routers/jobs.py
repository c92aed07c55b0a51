"""Training jobs: create, list, stop, pause, resume. Sync handlers, because the database blocks: they run in threads."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from backend.dependencies import (
    LARGEST_ID,
    WRITES,
    Catalogue,
    CurrentLinks,
    CurrentServices,
    CurrentSettings,
    DatasetName,
    JobId,
    Jobs,
    OnlyDataset,
)
from backend.encoders import refuse_other_encoders
from backend.job_rows import job_of
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from fedmem.config import ExperimentConfig
from fedmem.contracts import Job, JobDefaults, JobPage, JobRequest, LeakReport, RemovableJob
from fedmem.contracts.jobs import JobKind, JobState
from fedmem.errors import UnknownError
from fedmem.privacy.cost import before_start
from fedmem.privacy.startable import check_startable
from fedmem.serving import read_leaks
from fedmem.storage.job_configs import default_config, whole_config
from fedmem.storage.job_room import require_room

router = APIRouter(tags=["jobs"], route_class=KnownQueryRoute)
ACCEPTED = HTTPStatus.ACCEPTED

IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255,
        pattern=r"^[!-~]+$",
        description="A name of the client's choice for this request; sent again, it answers with the same job.",
        examples=["4f1c2d9e"],
    ),
]


@router.post(
    "/jobs",
    status_code=HTTPStatus.CREATED,
    dependencies=[WRITES],
    responses={
        **problems(400, 404, 409, 413, 503),
        201: {"headers": {"Location": {"description": "Where the job is.", "schema": {"type": "string"}}}},
    },
)
def create_job(
    request: JobRequest,
    jobs: Jobs,
    catalogue: Catalogue,
    settings: CurrentSettings,
    links: CurrentLinks,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """Queue a job. A data set or a `start_from` that is not there is 404; a key used for another request is 409.

    A job with `start_from` has that job's settings where `config` says nothing; one that it cannot have is 422.

    An encoder that neither the installation nor FEDMEM_ENCODERS names is 422.

    A job that is estimated to take more memory than the machine has, or may give it, is 422, and one that takes more
    disk than is free is 409. The first line of the job's log says what it is estimated to take, `privacy` what it
    will cost a user.
    """
    dataset = catalogue.dataset(request.dataset)
    parent = None if request.start_from is None else jobs.get(request.start_from)
    config = whole_config(request.config, settings.job_config, parent)
    known = whole_config(ExperimentConfig(), settings.job_config, parent)
    refuse_other_encoders(config, settings.encoders, known)
    costs = before_start(config)
    check_startable(config)
    if parent is None:
        catalogue.require_histories(request.dataset, config)
    needed = require_room(config, dataset, settings.data_dir, settings.job_memory)
    row, new = jobs.create(
        kind=request.kind,
        dataset=request.dataset,
        config=config.model_dump(mode="json"),
        num_rounds=config.federated.num_rounds,
        repeats_of_dataset=not config.data.says_repeats,
        start_from=request.start_from,
        snapshot=request.snapshot,
        idempotency_key=idempotency_key,
        promotion=request.promotion,
    )
    if new:
        for sentence in (f"estimated to take {needed}", *costs):
            jobs.log(row.id, "INFO", sentence)
    response.headers["Location"] = links.path(f"/jobs/{row.id}")
    return job_of(row)


@router.get("/jobs/defaults", responses=problems(404, 409, 503))
def get_defaults(dataset: DatasetName, catalogue: Catalogue, settings: CurrentSettings) -> JobDefaults:
    """Show the settings of a job of this data set whose request says none: FEDMEM_JOB_CONFIG's and the import's."""
    return JobDefaults(dataset=dataset, config=default_config(settings.job_config, catalogue.dataset(dataset)))


@router.get("/jobs", responses=problems(404, 503))
def list_jobs(
    jobs: Jobs,
    links: CurrentLinks,
    dataset: OnlyDataset,
    state: Annotated[JobState | None, Query(description="Only jobs in this state.")] = None,
    kind: Annotated[JobKind | None, Query(description="Only jobs of this kind.")] = None,
    cursor: Annotated[int | None, Query(ge=1, le=LARGEST_ID, description="Only older jobs; `next` holds it.")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="How many.")] = 50,
) -> JobPage:
    """List jobs, newest first."""
    filters = {"state": state, "kind": kind, "dataset": dataset}
    rows = jobs.page(state=state, kind=kind, dataset=dataset, before=cursor, limit=limit + 1)
    following = None
    if len(rows) > limit:
        asked = {name: value for name, value in filters.items() if value is not None}
        following = links.path("/jobs", **asked, cursor=rows[limit - 1].id, limit=limit)
    return JobPage(jobs=tuple(job_of(row) for row in rows[:limit]), next=following)


@router.delete(
    "/jobs/{job_id}", status_code=HTTPStatus.NO_CONTENT, dependencies=[WRITES], responses=problems(404, 409, 503)
)
def delete_job(job_id: JobId, services: CurrentServices) -> None:
    """Remove an ended job with its rounds, log and models, and its folder; one whose model is in service is a 409."""
    services.removal.remove(job_id, "over HTTP")


@router.get("/jobs/{job_id}/removal", responses=problems(404, 409, 503))
def look_at_removal(job_id: JobId, services: CurrentServices) -> RemovableJob:
    """Say what removing a job would remove and free; nothing is removed. One that cannot be removed is a 409."""
    (found,) = services.removal.look([job_id])
    return RemovableJob(job_id=job_id, rounds=found.job.round, model_version=found.job.model_version, size=found.size)


@router.get("/jobs/{job_id}", responses=problems(404, 503))
def get_job(job_id: JobId, jobs: Jobs) -> Job:
    """Show what was asked, what is wanted of it now, and how far it is."""
    return job_of(jobs.get(job_id))


@router.get("/jobs/{job_id}/leaks", responses=problems(404, 503))
def get_leaks(job_id: JobId, services: CurrentServices) -> LeakReport:
    """Show what attacks on the job's messages found out, if `fedmem audit JOB --attacks` has made them."""
    found = read_leaks(services.runs.at_hand(services.jobs.get(job_id).id))
    if found is None:
        raise UnknownError(f"job {job_id} was not attacked yet: fedmem audit {job_id} --attacks measures what it leaks")
    return found


@router.post("/jobs/{job_id}/stop", status_code=ACCEPTED, dependencies=[WRITES], responses=problems(404, 409, 413, 503))
def stop_job(job_id: JobId, jobs: Jobs) -> Job:
    """End it with a checkpoint that a new job may start from. It takes effect within two seconds."""
    return job_of(jobs.stop(job_id))


@router.post(
    "/jobs/{job_id}/pause", status_code=ACCEPTED, dependencies=[WRITES], responses=problems(404, 409, 413, 503)
)
def pause_job(job_id: JobId, jobs: Jobs) -> Job:
    """Stand still, within two seconds, until it is resumed or stopped."""
    return job_of(jobs.pause(job_id))


@router.post(
    "/jobs/{job_id}/resume", status_code=ACCEPTED, dependencies=[WRITES], responses=problems(404, 409, 413, 503)
)
def resume_job(job_id: JobId, jobs: Jobs) -> Job:
    """Queue a paused job again; it goes on after the last round it finished."""
    return job_of(jobs.resume(job_id))
