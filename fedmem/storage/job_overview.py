"""Jobs, trainers, waiting models and schedules at a glance, in a few quick queries: what an operator is alarmed by."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, select

from fedmem.contracts.jobs import JobState
from fedmem.storage.engine import reading
from fedmem.storage.schedules import ScheduleRow, ScheduleStore
from fedmem.storage.schema import activations, datasets, jobs, models, rounds, trainers


@dataclass(frozen=True)
class RunningJob:
    """A job that a trainer holds: its data set, how far it is, and its lease."""

    id: int
    dataset: str
    round: int
    num_rounds: int
    token: int
    lease_expires_at: float
    last_round_at: float | None


@dataclass(frozen=True)
class WaitingModel:
    """A model that is ready and was held back, and when it was made."""

    dataset: str
    version: str
    created_at: float


@dataclass(frozen=True)
class Overview:
    """All of it at one moment.

    Attributes:
        states: how many jobs are in each state that any is in.
        oldest_queued: when the oldest queued job was created, None where none is queued.
        running: those that trainers hold.
        seen: when each trainer was last heard of.
        waiting: by data set, the newest model that a training job has left, where it was held back and waits.
        schedules: all of them.
    """

    states: Mapping[JobState, int]
    oldest_queued: float | None
    running: tuple[RunningJob, ...]
    seen: tuple[float, ...]
    waiting: tuple[WaitingModel, ...]
    schedules: tuple[ScheduleRow, ...]


def overview(engine: Engine) -> Overview:
    """Read it."""
    with reading(engine) as connection:
        states = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state)).all()
        oldest = connection.scalar(select(func.min(jobs.c.created_at)).where(jobs.c.state == "queued"))
        seen = tuple(connection.scalars(select(trainers.c.seen_at)))
        running, waiting = _running(connection), _waiting(connection)
    return Overview(dict(map(tuple, states)), oldest, running, seen, waiting, tuple(ScheduleStore(engine).all()))


def _waiting(connection: Connection) -> tuple[WaitingModel, ...]:
    left = select(models.c.version).where(models.c.job_id == jobs.c.id).exists()
    newest = select(func.max(jobs.c.id)).where(jobs.c.kind == "training", left).group_by(jobs.c.dataset_id)
    served = select(activations.c.id).where(activations.c.version == models.c.version).exists()
    held_back = models.c.held_back.is_not(None) & ~served & models.c.job_id.in_(newest)
    columns = (datasets.c.name, models.c.version, models.c.created_at)
    found = select(*columns).select_from(models).join(jobs).join(datasets).where(held_back)
    return tuple(WaitingModel(*row) for row in connection.execute(found))


def _running(connection: Connection) -> tuple[RunningJob, ...]:
    last = select(rounds.c.finished_at).where(rounds.c.job_id == jobs.c.id, rounds.c.round == jobs.c.round)
    columns = (jobs.c.id, datasets.c.name, jobs.c.round, jobs.c.num_rounds, jobs.c.token, jobs.c.lease_expires_at)
    held = select(*columns, last.scalar_subquery()).join(datasets).where(jobs.c.state == "running")
    return tuple(RunningJob(*row) for row in connection.execute(held.order_by(jobs.c.id)))
