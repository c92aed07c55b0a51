"""One import, or one erasure, at a time, by a lock that a process cannot keep beyond its death."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine, exc, func, select

from fedmem.storage.engine import database_errors, reading

# Any numbers will do that no other program locks.
ADVISORY_LOCKS = {"import": 7_403_915, "erasure": 7_403_916}

Work = Literal["import", "erasure"]
_Take = Callable[[bool], bool]  # whether to wait -> whether it was taken


@contextlib.contextmanager
def alone(engine: Engine, waiting: Callable[[], None] | None = None, work: Work = "import") -> Iterator[bool]:
    """Keep other imports and removals out of the database, or other erasures from files.

    Args:
        engine: the database.
        waiting: called where another is under way, before it is waited for; without it, False is yielded then.
        work: what is done alone.
    """
    lock = _advisory_lock if engine.dialect.name == "postgresql" else _file_lock
    with lock(engine, work) as take:
        taken = take(False)
        if not taken and waiting is not None:
            waiting()
            taken = take(True)
        yield taken


@contextlib.contextmanager
def _file_lock(engine: Engine, work: Work) -> Iterator[_Take]:
    with reading(engine) as connection:
        database = connection.exec_driver_sql("PRAGMA database_list").one()[2]
    with Path(f"{database}-{work}").open("w") as file:

        def take(wait: bool) -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                return False
            return True

        yield take


@contextlib.contextmanager
def _advisory_lock(engine: Engine, work: Work) -> Iterator[_Take]:
    with database_errors(engine.url):
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def take(wait: bool) -> bool:
        ask = func.pg_advisory_lock if wait else func.pg_try_advisory_lock
        with database_errors(engine.url):
            return connection.scalar(select(ask(ADVISORY_LOCKS[work]))) is not False

    try:
        yield take
    finally:
        with contextlib.suppress(exc.DBAPIError), connection:  # the server gives up a lost connection's lock itself
            connection.execute(select(func.pg_advisory_unlock_all()))
