"""A database copied to one file while it is written to, and made again from that file.

SQLite is copied by its backup interface, which takes one snapshot and keeps no writer waiting; PostgreSQL by its own
``pg_dump`` in the snapshot in which the copied rows are also read, and made again by ``pg_restore``.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, String, func, literal, select, text, update

from fedmem.errors import ConflictError, StorageError
from fedmem.storage import deletions
from fedmem.storage.engine import connect, parse_url, reading, schema_revision, shown, writing
from fedmem.storage.schema import erasures, items, rounds

Kind = str  # "sqlite" or "postgresql"
FILES = {"sqlite": "database.sqlite", "postgresql": "database.dump"}


@dataclass(frozen=True)
class DatabaseCopy:
    """What is to be known of a copy of a database.

    Attributes:
        kind: of database.
        revision: the migration that it is at.
        checkpoints: the folders that it names, by job.
        begun: the jobs whose start it holds.
        deleted: what changes whenever a user is deleted, or erased from files.
    """

    kind: Kind
    revision: str
    checkpoints: frozenset[tuple[int, str]]
    begun: frozenset[int]
    deleted: tuple[Any, ...]


def kind_of(url: str) -> Kind:
    """Return the kind of database that a URL names."""
    return parse_url(url).get_backend_name()


def copy_database(engine: Engine, folder: Path) -> DatabaseCopy:
    """Copy a database into a folder, in the place of an earlier copy.

    Raises:
        StorageError: if it cannot be read, or pg_dump cannot be run.
    """
    file = folder / FILES[engine.dialect.name]
    if engine.dialect.name == "postgresql":
        with reading(engine) as connection:
            _dump(engine.url, connection, file)
            return _copied(engine, connection)
    copy_sqlite(Path(str(engine.url.database)), file)
    with _engine(f"sqlite:///{file}") as copy, reading(copy) as connection:
        found = _copied(copy, connection)
    _without_log(file)
    return found


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy an SQLite file as its last commit left it.

    Raises:
        StorageError: naming the file, if it cannot be read or the copy not be written.
    """
    target.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as whole,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            whole.backup(copy)
        _without_log(target)
    except sqlite3.Error as error:
        raise StorageError(f"{source} cannot be copied to {target} ({error})") from None


def _without_log(file: Path) -> None:
    """Let a copy be one file: in WAL mode there are others beside it."""
    with contextlib.closing(sqlite3.connect(file)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")


def named_checkpoints(engine: Engine) -> frozenset[tuple[int, str]]:
    """Return the folders of checkpoints that a database names at present, with their jobs."""
    with reading(engine) as connection:
        return _named(connection)


def _named(connection: Connection) -> frozenset[tuple[int, str]]:
    named = select(rounds.c.job_id, rounds.c.checkpoint).where(rounds.c.checkpoint.is_not(None))
    return frozenset((row.job_id, row.checkpoint) for row in connection.execute(named))


def deletion_state(engine: Engine) -> tuple[Any, ...]:
    """Return what changes whenever a user is deleted, or erased from files."""
    with reading(engine) as connection:
        return _deleted(connection)


def _deleted(connection: Connection) -> tuple[Any, ...]:
    waiting = connection.execute(select(erasures).order_by(*erasures.primary_key))
    return (*deletions.deletion_state(connection), *map(tuple, waiting))


def _copied(engine: Engine, connection: Connection) -> DatabaseCopy:
    begun = frozenset(connection.scalars(select(rounds.c.job_id).distinct()))
    revision = schema_revision(engine) or ""
    return DatabaseCopy(engine.dialect.name, revision, _named(connection), begun, _deleted(connection))


def refuse_if_used(url: str) -> None:
    """Check that a database may be made where a URL says.

    Raises:
        ConflictError: if there is one.
    """
    parsed, other = parse_url(url), "another is named by DATABASE_URL or --database-url"
    if parsed.get_backend_name() == "sqlite":
        if Path(str(parsed.database)).exists():
            raise ConflictError(f"{parsed.database} is there: a backup is restored beside nothing. Move it; {other}")
        return
    with _engine(url) as engine:
        if schema_revision(engine) is not None:
            raise ConflictError(f"{shown(parsed)} holds FedMem's tables: restore into an empty database; {other}")


@contextlib.contextmanager
def restored_database(copy: Path, url: str) -> Iterator[Engine]:
    """Make a database from its copy: within the block it may be changed, and at its end it is there, or not at all.

    On PostgreSQL it is there at once, because pg_restore makes it in one transaction of its own.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        _run(
            parsed, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(copy)
        )
        with _engine(url) as engine:
            yield engine
        return
    file = Path(str(parsed.database))
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        shutil.copyfile(copy, beside)
        with _engine(f"sqlite:///{beside}") as engine:
            yield engine
        _without_log(beside)
        beside.rename(file)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def _engine(url: str) -> Iterator[Engine]:
    engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()


def move_pictures(engine: Engine, before: str, after: str) -> None:
    """Let items' pictures that were below one folder be below another."""
    start = f"{before}/"
    with writing(engine) as connection:
        moved = literal(f"{after}/") + func.substr(items.c.image_path, len(start) + 1, type_=String)
        of_folder = items.c.image_path.startswith(start, autoescape=True)
        connection.execute(update(items).where(of_folder).values(image_path=moved))


def _dump(url: URL, connection: Connection, file: Path) -> None:
    snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
    _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={file}")


def _run(url: URL, program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on a database; its password is in no list of processes."""
    secret = {"PGPASSWORD": url.password} if url.password else {}
    address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    command = [program, *arguments, f"--dbname={address}"]
    try:
        ended = subprocess.run(command, env=os.environ | secret, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise StorageError(
            f"{program} is not installed: it comes with PostgreSQL's client programs (postgresql-client), of the "
            "server's version or a newer one"
        ) from None
    if ended.returncode:
        raise StorageError(f"{program} failed on {shown(url)}: {' '.join(ended.stderr.split())[:300]}")
