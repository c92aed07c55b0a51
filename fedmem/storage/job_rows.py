"""Jobs as rows: what the database holds of them, and what trainers write."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from fedmem.contracts.jobs import DesiredState, JobKind, JobState, LogLevel, PromotionMode, SnapshotChoice, Split
from fedmem.errors import UnknownJobError
from fedmem.storage.schema import activations, datasets, jobs, logs, models

# SQLite's and PostgreSQL's integers end there.
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class JobRow:
    """One job: its columns, its data set's name, and the newest model it has left."""

    id: int
    kind: JobKind
    dataset_id: int
    dataset: str
    config: dict[str, Any]
    start_from: int | None
    state: JobState
    desired_state: DesiredState
    created_at: float
    started_at: float | None
    finished_at: float | None
    worker: str | None
    lease_expires_at: float | None
    token: int
    attempts: int
    attempts_without_progress: int
    snapshot_digest: str | None
    last_interaction_id: int | None
    round: int
    num_rounds: int
    best_round: int | None
    clients_done: int
    clients_selected: int
    message: str | None
    traceback: str | None
    idempotency_key: str | None
    request_digest: str
    promotion: PromotionMode | None
    snapshot: SnapshotChoice | None
    model_version: str | None
    held_back: str | None

    @property
    def model_round(self) -> int:
        """The round of the best model so far, 0 before the first round."""
        return self.best_round or self.round

    @property
    def goes_on_with_newest(self) -> bool:
        """Whether it lets another job's model go on with newer data."""
        return self.start_from is not None and self.snapshot == "newest"


@dataclass(frozen=True)
class Verdict:
    """What becomes of a job's model.

    Attributes:
        serve: whether it goes into service.
        reason: why, or why not, in a sentence; None where nothing was compared.
        compared: whether it was compared with what served.
        against: the version that served then, None for none.
    """

    serve: bool
    reason: str | None = None
    compared: bool = False
    against: str | None = None

    def is_outdated_by(self, serving: str | None) -> bool:
        """Say whether another model serves by now than the one that was compared with."""
        return self.compared and self.against != serving


@dataclass(frozen=True)
class Lease:
    """A trainer's right to write to a job: as long as no one else was given a later token."""

    job_id: int
    token: int
    worker: str


@dataclass(frozen=True)
class StoredPrototypes:
    """The global abstract memory after a round: arrays in safetensors' format, and what is shown of each prototype."""

    arrays: bytes
    description: list[dict[str, Any]]


@dataclass(frozen=True)
class RoundResult:
    """What one round leaves in the database. ``checkpoint`` is the folder's name under the job's; round 0 has none."""

    round: int
    is_best: bool
    checkpoint: str | None
    metrics: Mapping[Split, Mapping[str, float]]
    prototypes: StoredPrototypes | None = None


@dataclass(frozen=True)
class LogRow:
    """A line of a job's log."""

    id: int
    time: float
    level: LogLevel
    message: str


@dataclass(frozen=True)
class TrainerRow:
    """A trainer, when it was last seen and what it trains."""

    worker: str
    started_at: float
    seen_at: float
    job_id: int | None


def select_jobs() -> Select[Any]:
    """Select all jobs with a ``JobRow``'s fields."""
    of_job = models.c.job_id == jobs.c.id
    order = (models.c.created_at.desc(), models.c.round.desc())
    newest_model = select(models.c.version).where(of_job).order_by(*order).limit(1).scalar_subquery()
    # Once it has served, it waits no more.
    waits = of_job & models.c.version.not_in(select(activations.c.version))
    held_back = select(models.c.held_back).where(waits).order_by(*order).limit(1).scalar_subquery()
    names = (datasets.c.name.label("dataset"), newest_model.label("model_version"), held_back.label("held_back"))
    return select(jobs, *names).join(datasets)


def job_row(connection: Connection, job_id: int, *, lock: bool = False) -> JobRow:
    """Return one job; ``lock`` keeps other writers from it until the transaction's end.

    Raises:
        UnknownJobError: if there is none of that number.
    """
    statement = select_jobs().where(jobs.c.id == job_id)
    if lock:
        statement = statement.with_for_update(of=jobs)
    row = connection.execute(statement).mappings().one_or_none() if 0 < job_id <= LARGEST_ID else None
    if row is None:
        raise UnknownJobError(f"there is no job {job_id}")
    return JobRow(**row)


def add_log(connection: Connection, job_id: int, level: LogLevel, message: str, now: float) -> None:
    """Add a line to a job's log."""
    connection.execute(logs.insert().values(job_id=job_id, time=now, level=level, message=message))
