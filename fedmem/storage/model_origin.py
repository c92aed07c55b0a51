"""Which round a model is: a job that goes on from another, and finds no better round, leaves that one's again."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, or_, select

from fedmem.storage.engine import reading
from fedmem.storage.models import ModelRow
from fedmem.storage.schema import jobs, metrics

WEIGHTS = "transition_strength"  # begins the names of those that each validation chooses, also of a model taken up


@dataclass(frozen=True)
class Origin:
    """Models of one origin are equal: the job and the round that trained it, and what its transition memory weighs."""

    job_id: int
    round: int
    weights: tuple[tuple[str, float], ...]


def origin_of(connection: Connection, model: ModelRow) -> Origin:
    """Find where a model comes from, through all jobs that went on without gain."""
    job_id = model.job_id
    while (parent := _trained_before(connection, job_id, model.round)) is not None:
        job_id = parent
    of_round = metrics.c.job_id == model.job_id, metrics.c.round == model.round
    named = metrics.c.split == "train", metrics.c.name.startswith(WEIGHTS, autoescape=True)
    weights = select(metrics.c.name, metrics.c.value).where(*of_round, *named).order_by(metrics.c.name)
    return Origin(job_id, model.round, tuple((name, value) for name, value in connection.execute(weights)))


def equal_to_active(engine: Engine, rows: Sequence[ModelRow], active: Sequence[ModelRow]) -> set[str]:
    """Name those of some models that are equal to the one to serve of their data set; only its round can be."""
    serving = {row.dataset: row for row in active}
    alike = [(row, serving[row.dataset]) for row in rows if not row.active and row.dataset in serving]
    with reading(engine) as connection:
        return {
            row.version
            for row, other in alike
            if row.round == other.round and origin_of(connection, row) == origin_of(connection, other)
        }


def _trained_before(connection: Connection, job_id: int, round: int) -> int | None:
    """Name the job that a job has this round from, None if it trained it itself."""
    parent = jobs.alias()
    best = func.coalesce(func.nullif(parent.c.best_round, 0), parent.c.round)
    copied = (jobs.c.snapshot == "same") & (parent.c.round >= round)
    taken_up = (jobs.c.snapshot == "newest") & (best == round)
    wanted = select(parent.c.id).join(jobs, jobs.c.start_from == parent.c.id)
    found: int | None = connection.scalar(wanted.where(jobs.c.id == job_id, or_(copied, taken_up)))
    return found
