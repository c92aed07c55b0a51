"""What each backend has let through of late, for the others that count with it, and which backends there are."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine, func, select

from fedmem.storage.engine import reading, writing
from fedmem.storage.leases import database_time
from fedmem.storage.schema import spendings

BEAT = 5.0  # seconds between two rows of a backend that has nothing to tell
ALIVE = 15.0  # seconds without a row after which a backend is one no more
KEPT = 60.0  # seconds; a backend that starts begins with what they say


class SpendingStore:
    """One backend's rows, and what it has read of those of others."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time, alive: float = ALIVE) -> None:
        """Say how long a backend may be silent; the clock is SQLite's alone, PostgreSQL has its own."""
        self._engine, self._clock, self._alive = engine, clock, alive
        self._name, self._number, self._written_at = uuid4().hex, 0, -inf
        self._others: dict[str, int] = {}  # the last row of each that was read

    def exchange(self, spent: Mapping[str, float]) -> tuple[int, dict[str, float]]:
        """Write what was spent here since the last time, and return how many backends live and what others spent since.

        What is written comes before what is read, so that of two who do so at once one at least hears of the other.

        Raises:
            StorageError: if the database cannot be asked.
        """
        with reading(self._engine) as connection:
            now = database_time(connection) or self._clock()
        if spent or abs(now - self._written_at) >= BEAT:
            with writing(self._engine) as connection:
                self._write(connection, spent, now)
            self._number, self._written_at = self._number + 1, now
        with reading(self._engine) as connection:
            return self._read(connection, now)

    def leave(self) -> None:
        """Be a backend no more."""
        if self._number:
            with writing(self._engine) as connection:
                connection.execute(spendings.delete().where(spendings.c.backend == self._name))

    def _write(self, connection: Connection, spent: Mapping[str, float], now: float) -> None:
        row = {"backend": self._name, "number": self._number, "written_at": now, "spent": dict(spent)}
        connection.execute(spendings.insert().values(**row))
        old = spendings.c.written_at < now - KEPT
        # Those of the dead are left to one that starts: two that delete the same rows may wait for each other.
        mine = spendings.c.backend == self._name
        connection.execute(spendings.delete().where(old if self._number == 0 else old & mine))

    def _read(self, connection: Connection, now: float) -> tuple[int, dict[str, float]]:
        newest = (
            select(spendings.c.backend, func.max(spendings.c.number))
            .where(
                spendings.c.backend != self._name, spendings.c.written_at.between(now - self._alive, now + self._alive)
            )
            .group_by(spendings.c.backend)
        )
        living = [(row[0], row[1]) for row in connection.execute(newest)]
        theirs: Counter[str] = Counter()
        for backend, number in living:
            read = self._others.get(backend, -1)
            if number > read:
                wanted = (spendings.c.backend == backend) & (spendings.c.number > read)
                for spent in connection.scalars(select(spendings.c.spent).where(wanted)):
                    theirs.update(_whole(spent))
                self._others[backend] = number
        return 1 + len(living), dict(theirs)


def _whole(spent: Any) -> dict[str, float]:
    """Return what is whole of a row, which may be damaged."""
    amounts = spent if isinstance(spent, dict) else {}
    return {
        client: amount for client, amount in amounts.items() if isinstance(amount, int | float) and isfinite(amount)
    }
