"""What rounds have left: metrics as long rows (job, round, split, name, value), and prototypes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from fedmem.contracts.jobs import Split
from fedmem.storage.engine import reading
from fedmem.storage.schema import metrics, prototypes, rounds


@dataclass(frozen=True)
class RoundRow:
    """One round: when it ended, its checkpoint's folder while it is kept, and its metrics by split."""

    round: int
    finished_at: float
    is_best: bool
    checkpoint: str | None
    metrics: dict[Split, dict[str, float]]


@dataclass(frozen=True)
class PrototypesRow:
    """The global abstract memory after a round: arrays in safetensors' format, and what is shown of each prototype."""

    round: int
    arrays: bytes
    description: list[dict[str, Any]]


class MetricStore:
    """The metrics in a database, to read."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def rounds(
        self, job_id: int, after_round: int = 0, limit: int | None = None, splits: Sequence[Split] | None = None
    ) -> list[RoundRow]:
        """List the rounds after one, in order; ``after_round=-1`` begins with round 0, which holds the baselines."""
        where = (rounds.c.job_id == job_id, rounds.c.round > after_round)
        with reading(self.engine) as connection:
            found = connection.execute(select(rounds).where(*where).order_by(rounds.c.round).limit(limit)).all()
            if not found:
                return []
            tables = _metrics(connection, job_id, found[0].round, found[-1].round, splits)
        return [
            RoundRow(row.round, row.finished_at, row.is_best, row.checkpoint, tables.get(row.round, {}))
            for row in found
        ]

    def prototypes(self, job_id: int, round: int | None = None) -> PrototypesRow | None:
        """Return the prototypes after a round, by default the last that has any; None if there are none."""
        where = prototypes.c.job_id == job_id
        if round is not None:
            where &= prototypes.c.round == round
        columns = (prototypes.c.round, prototypes.c.arrays, prototypes.c.description)
        with reading(self.engine) as connection:
            row = connection.execute(select(*columns).where(where).order_by(prototypes.c.round.desc()).limit(1)).first()
        return None if row is None else PrototypesRow(*row)

    def prototype_rounds(self, job_id: int) -> list[int]:
        """List the rounds whose prototypes are kept, in order."""
        statement = select(prototypes.c.round).where(prototypes.c.job_id == job_id).order_by(prototypes.c.round)
        with reading(self.engine) as connection:
            return list(connection.scalars(statement))


def _metrics(
    connection: Connection, job_id: int, first: int, last: int, splits: Sequence[Split] | None
) -> dict[int, dict[Split, dict[str, float]]]:
    """Return metrics by round, split and name, in order of names."""
    where = (metrics.c.job_id == job_id) & metrics.c.round.between(first, last)
    if splits is not None:
        where &= metrics.c.split.in_(splits)
    columns = (metrics.c.round, metrics.c.split, metrics.c.name, metrics.c.value)
    tables: dict[int, dict[Split, dict[str, float]]] = {}
    for round, split, name, value in connection.execute(select(*columns).where(where).order_by(*columns[:3])):
        tables.setdefault(round, {}).setdefault(split, {})[name] = value
    return tables
