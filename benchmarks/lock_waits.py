"""A service of the product that counts how often, and how long, it waits for the database's write lock.

``python -m benchmarks.lock_waits trainer FILE`` is ``python -m trainer``, and writes each wait to a line of FILE: the
thread and the seconds. With ``--every`` it is every taking of the lock, those without a wait with 0. SQLite takes the
lock at BEGIN IMMEDIATE and hides a wait in it: so the lock is first asked for without patience, and only where it is
refused with the usual one. Nothing is estimated from how long a statement took, which on a busy machine says nothing
of locks. Readers never wait for a writer, because the journal is a write-ahead log.
"""

import runpy
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from fedmem.storage.engine import BUSY_SECONDS

TAKES_LOCK = "BEGIN IMMEDIATE"


def count_waits(file: Path, *, every: bool = False) -> None:
    """Write down, from now on, the waits of every engine in this process."""

    def note(seconds: float) -> None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(f"{threading.current_thread().name}\t{seconds:.6f}\n")

    @event.listens_for(Engine, "do_execute")
    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        if statement != TAKES_LOCK:
            return False
        if not _taken_at_once(cursor):
            began = time.perf_counter()
            cursor.execute(TAKES_LOCK)
            note(time.perf_counter() - began)
        elif every:
            note(0.0)
        return True


def noted(file: Path) -> list[tuple[str, float]]:
    """Read what such a file holds: thread and seconds."""
    lines = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines())
    return [(thread, float(seconds)) for thread, seconds in lines]


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
    module, file, *every = sys.argv[1:]
    count_waits(Path(file), every=every == ["--every"])
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
