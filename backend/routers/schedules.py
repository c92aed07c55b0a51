"""Schedules: jobs that are queued again and again, with which a model goes on with the newest data."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response

from backend.damaged_rows import shown
from backend.dependencies import LARGEST_ID, WRITES, CurrentLinks, CurrentSettings, OnlyDataset, Schedules
from backend.encoders import refuse_other_encoders
from backend.job_rows import job_of
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from backend.schedule_rows import schedule_of
from fedmem.config import ExperimentConfig
from fedmem.contracts import Job, Schedule, ScheduleList, ScheduleRequest, ScheduleUpdate
from fedmem.privacy.startable import check_startable
from fedmem.storage.job_configs import whole_config
from fedmem.storage.schedule_runs import ScheduleRuns

router = APIRouter(tags=["schedules"], route_class=KnownQueryRoute)
ScheduleId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="The schedule's number.", examples=[1])]


def _created(what: str) -> dict[int | str, object]:
    return {201: {"headers": {"Location": {"description": f"Where the {what} is.", "schema": {"type": "string"}}}}}


@router.post(
    "/schedules",
    status_code=HTTPStatus.CREATED,
    dependencies=[WRITES],
    responses={**problems(400, 404, 409, 413, 503), **_created("schedule")},  # type: ignore[dict-item]
)
def create_schedule(
    request: ScheduleRequest, schedules: Schedules, settings: CurrentSettings, links: CurrentLinks, response: Response
) -> Schedule:
    """Let the model that serves a data set go on with its newest data, again and again.

    Each time a trainer queues a job, which goes through promotion as any other; where no model serves yet, it trains a
    first one. One of the same data set at the same times is a 409, and one whose model has a budget of privacy, which
    cannot go on, is 422, as is an encoder that neither the installation nor FEDMEM_ENCODERS names.
    """
    config, known = (whole_config(one, settings.job_config, None) for one in (request.config, ExperimentConfig()))
    refuse_other_encoders(config, settings.encoders, known)
    check_startable(config)
    row = schedules.create(
        dataset=request.dataset,
        cron=request.cron,
        timezone=request.timezone,
        rounds=request.rounds,
        config=request.config.model_dump(mode="json", exclude_unset=True),
        promotion=request.promotion,
        defaults=settings.job_config,
    )
    response.headers["Location"] = links.path(f"/schedules/{row.id}")
    return schedule_of(row)


@router.get("/schedules", responses=problems(404, 503))
def list_schedules(schedules: Schedules, dataset: OnlyDataset) -> ScheduleList:
    """List the schedules, when each is due, and what became of it last."""
    return ScheduleList(schedules=tuple(shown(schedule_of, schedules.all(dataset))))


@router.get("/schedules/{schedule_id}", responses=problems(404, 503))
def get_schedule(schedule_id: ScheduleId, schedules: Schedules) -> Schedule:
    """Show when it is due, and what became of it last."""
    return schedule_of(schedules.get(schedule_id))


@router.patch("/schedules/{schedule_id}", dependencies=[WRITES], responses=problems(400, 404, 409, 413, 503))
def update_schedule(schedule_id: ScheduleId, update: ScheduleUpdate, schedules: Schedules) -> Schedule:
    """Change it, let it rest, or let it go on; what is left out stays as it is."""
    return schedule_of(schedules.change(schedule_id, **update.model_dump(exclude_unset=True)))


@router.delete(
    "/schedules/{schedule_id}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[WRITES],
    responses=problems(404, 413, 503),
)
def delete_schedule(schedule_id: ScheduleId, schedules: Schedules) -> None:
    """Remove it. Its jobs stay, and one that is queued or running goes on."""
    schedules.remove(schedule_id)


@router.post(
    "/schedules/{schedule_id}/run",
    status_code=HTTPStatus.CREATED,
    dependencies=[WRITES],
    responses={**problems(404, 409, 413, 503), **_created("job")},  # type: ignore[dict-item]
)
def run_schedule(
    schedule_id: ScheduleId, schedules: Schedules, settings: CurrentSettings, links: CurrentLinks, response: Response
) -> Job:
    """Queue its job at once, of one that is paused too; when it is due next stays. While its last job goes on: 409."""
    job = ScheduleRuns(schedules, settings.data_dir, settings.job_memory, settings.job_config).now(schedule_id)
    response.headers["Location"] = links.path(f"/jobs/{job.id}")
    return job_of(job)
