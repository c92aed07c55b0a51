"""A service of the product that counts how often, and how long, it waits for the database's write lock.

``python -m benchmarks.lock_waits trainer FILE`` is ``python -m trainer``, and writes the seconds of each wait to a line
of FILE. SQLite takes the write lock at BEGIN IMMEDIATE and hides a wait in it: so the lock is first asked for without
patience, and only where it is refused with the usual one. Nothing is estimated from how long a statement took, which
on a busy machine says nothing of locks. Readers never wait for a writer, because the journal is a write-ahead log.
"""

import runpy
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from fedmem.storage.engine import BUSY_SECONDS

TAKES_LOCK = "BEGIN IMMEDIATE"


def count_waits(file: Path) -> None:
    """From now on, of every engine in this process."""

    @event.listens_for(Engine, "do_execute")
    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        if statement != TAKES_LOCK:
            return False
        if not _taken_at_once(cursor):
            began = time.perf_counter()
            cursor.execute(TAKES_LOCK)
            with file.open("a", encoding="ascii") as waits:
                waits.write(f"{time.perf_counter() - began:.6f}\n")
        return True


def _taken_at_once(cursor: sqlite3.Cursor) -> bool:
    cursor.execute("PRAGMA busy_timeout = 0")
    try:
        cursor.execute(TAKES_LOCK)
    except sqlite3.OperationalError as error:
        if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
            raise
        return False
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS}")
    return True


def main() -> None:
    """Be the service."""
    module, file = sys.argv[1:]
    count_waits(Path(file))
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
