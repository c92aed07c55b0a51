"""Connections: SQLite or PostgreSQL by URL, transactions to read and to write in, and errors in one sentence.

On SQLite a writing transaction takes the write lock at its start (BEGIN IMMEDIATE), so that what it read stands when it
writes; in WAL mode readers see the last commit meanwhile and never wait. A commit is synced to the disk before it
returns: the trainer deletes a checkpoint once the database no longer names it, so a power cut may undo no commit.
"""

import contextlib
import functools
import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, column, create_engine, event, exc, inspect, make_url, select, table
from sqlalchemy.engine.interfaces import DBAPICursor

from fedmem.environment import PRIVATE
from fedmem.errors import DataError, StorageError
from fedmem.storage.schema import REVISION

DEFAULT_URL = "sqlite:///runs/fedmem.db"
HIDDEN = "***"
BUSY_SECONDS = 30
CONNECT_SECONDS = 10
FORGETTING_PATIENCE_MS = 200
NOT_MIGRATED = "is not at this version's schema; run: fedmem db upgrade"
# Rows as Alembic keeps them: one, with the revision.
_versions = table("alembic_version", column("version_num"))
_WRITES = "fedmem_writes"


def _from_json(text: str) -> Any:
    """Read a JSON column; what is none comes back as it stands, so that one broken row spoils no other."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text


_as_text = functools.partial(str, encoding="utf-8", errors="replace")
_to_json = functools.partial(json.dumps, allow_nan=False, ensure_ascii=False)


def connect(url: str = DEFAULT_URL, *, foreign_keys: bool = True) -> Engine:
    """Make an engine for an SQLite or a PostgreSQL URL; it connects on first use. An SQLite file's folder is created.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
        foreign_keys: whether SQLite checks them. Migrations go without: they rebuild tables that others refer to.

    Raises:
        StorageError: if the URL names neither, or the folder cannot be made.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        return _connect_postgresql(parsed)
    _make_folder(parsed)
    _make_private(Path(str(parsed.database)))
    engine = create_engine(
        parsed,
        json_serializer=_to_json,
        json_deserializer=_from_json,
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS},
    )
    event.listen(engine, "connect", functools.partial(_set_up_sqlite, foreign_keys=foreign_keys))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def parse_url(url: str) -> URL:
    """Parse a URL and add its driver; ``postgres://`` and ``postgresql://`` mean psycopg.

    Raises:
        StorageError: if it is the URL of neither an SQLite file nor a PostgreSQL database; it hides the password.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise StorageError(f"the database URL cannot be read; it should look like {DEFAULT_URL}") from None
    if "@" in (parsed.host or ""):  # the rest of a password, and no message may show it
        raise StorageError("the database URL has an @ too many; one in the password is written %40, as : is %3A")
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise StorageError(f"{shown(parsed)}: the database must be sqlite:///FILE or postgresql://...")
    if parsed.database in (None, "", ":memory:"):
        raise StorageError(f"{shown(parsed)} names no file, and a database in memory cannot be shared by the services")
    return parsed


def require(url: str) -> None:
    """Raise StorageError where a URL names an SQLite file that is not there: who only reads must not make one."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not parsed.query and not Path(str(parsed.database)).exists():
        raise StorageError(
            f"there is no database {parsed.database}: fedmem up or fedmem data import makes one; another is named by "
            "DATABASE_URL or --database-url"
        )


def shown(url: URL) -> str:
    """Format a URL for printing, its password masked, even one after the question mark."""
    secrets = {name: HIDDEN for name in url.query if "password" in name.lower()}
    return url.update_query_dict(secrets).render_as_string(hide_password=True).replace(quote(HIDDEN), HIDDEN)


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only reads: one snapshot of the database, which keeps no writer waiting."""
    snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    options = snapshot if engine.dialect.name == "postgresql" else {}
    with database_errors(engine.url), engine.connect() as connection:
        connection.execution_options(**options)
        with connection.begin():
            yield connection


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that writes: committed at its end, or undone by whatever is raised inside."""
    with database_errors(engine.url), engine.connect() as connection:
        connection.execution_options(**{_WRITES: True})
        with connection.begin():
            yield connection


@contextlib.contextmanager
def database_errors(url: URL) -> Iterator[None]:
    """Turn the database's errors into a StorageError of one sentence; broken constraints pass as they are."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.DBAPIError as error:
        worded = _worded(error, url)
        if worded is error:
            raise
        raise worded from error
    except OverflowError as error:
        raise DataError(f"the database cannot hold a value: {error}") from None
    except exc.StatementError as error:
        # A value that cannot be sent at all, such as NaN in a JSON column.
        raise error.orig if isinstance(error.orig, ValueError) else error from None


def note_deletion(connection: Connection) -> None:
    """Note, in the transaction that deletes rows of users, that SQLite's files are to be rid of them."""
    if connection.dialect.name == "sqlite":
        noted = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {noted + 1}")


def forget_deleted(engine: Engine) -> bool:
    """Rid SQLite's files of the rows whose deletion was noted, and say whether they are; if not, try again later.

    Deleted rows are overwritten where they stood (``secure_delete``), but rows that move to another page for want of
    room leave copies behind (in 10 of 48 databases of random rows), which an incremental vacuum would only move with
    their pages, and the log holds all of them. So the file is written anew, and the log emptied: not while others read
    what stands in it, or write. PostgreSQL's files are its own to clean.

    Raises:
        StorageError: if there is no room for another copy of the file, or it cannot be written.
    """
    if engine.dialect.name != "sqlite":
        return True
    with database_errors(engine.url), contextlib.closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {FORGETTING_PATIENCE_MS}")
        try:
            return _forget_noted(cursor)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname.startswith("SQLITE_BUSY"):
                return False
            raise _worded(exc.OperationalError(None, None, error), engine.url) from error
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {1000 * BUSY_SECONDS}")


def _forget_noted(cursor: DBAPICursor) -> bool:
    (noted,) = cursor.execute("PRAGMA user_version").fetchone()
    if not noted:
        return True
    if not _empty_log(cursor):
        return False
    cursor.execute("VACUUM")
    if not _empty_log(cursor):
        return False
    cursor.execute("BEGIN IMMEDIATE")
    if cursor.execute("PRAGMA user_version").fetchone() == (noted,):  # else more was deleted meanwhile
        cursor.execute("PRAGMA user_version = 0")
    cursor.execute("COMMIT")
    return True


def _empty_log(cursor: DBAPICursor) -> bool:
    (busy, _, _) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def schema_revision(engine: Engine) -> str | None:
    """Return the migration that the database is at, None if there is none yet."""
    with reading(engine) as connection:
        if not inspect(connection).has_table(_versions.name):
            return None
        revision: str | None = connection.scalar(select(_versions.c.version_num))
        return revision


def check_schema(engine: Engine) -> None:
    """Check that the database can be used.

    Raises:
        StorageError: if it cannot be reached or is at another schema.
    """
    revision = schema_revision(engine)
    if revision != REVISION:
        raise StorageError(f"the database {shown(engine.url)} {NOT_MIGRATED} (it is at {revision}, not at {REVISION})")


def _connect_postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            json_serializer=_to_json,
            json_deserializer=_from_json,
            hide_parameters=True,
            connect_args={"connect_timeout": CONNECT_SECONDS},
        )
    except ImportError:
        raise StorageError("PostgreSQL needs psycopg: pip install 'fedmem[postgres]'") from None


def _make_folder(url: URL) -> None:
    if url.query.get("uri"):  # file:...?mode=ro and the like name a file that is there
        return
    try:
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder of the database {url.database} cannot be made: {error.strerror}") from None


def _make_private(database: Path) -> None:
    """Take from others the rights to a database made when there was no such rule, and to what lies beside it."""
    for suffix in ("", "-wal", "-shm"):
        file = database.with_name(database.name + suffix)
        with contextlib.suppress(OSError):  # it is not there yet, or another's: SQLite says so where it matters
            if (mode := file.stat().st_mode) & PRIVATE:
                file.chmod(stat.S_IMODE(mode) & ~PRIVATE)


def _set_up_sqlite(connection: sqlite3.Connection, _: Any, *, foreign_keys: bool) -> None:
    # One text that is no UTF-8 would else spoil every row that is read with it.
    connection.text_factory = _as_text
    # The driver would begin transactions by itself, and late; _begin_sqlite does it instead.
    connection.isolation_level = None
    # Asked before it is set, because only setting it needs the database for itself.
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # what is deleted leaves the file, not only the tables
    connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
    # SQLite's own lower() knows ASCII alone, and a search for a title should find it in any case.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(text: Any) -> Any:
    # Of a BLOB the text that it holds: of a text that is no UTF-8 the driver would not call this at all.
    return _as_text(text).lower() if isinstance(text, bytes) else text and text.lower()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")


# SQLite's error names by their beginning, PostgreSQL's SQLSTATEs by theirs.
_CAUSES = {
    "SQLITE_FULL": "could not be written: the disk is full. Make room; what was written before is intact",
    "SQLITE_READONLY": "could not be written: it is read-only. Check the file's and the folder's owner and permissions",
    "SQLITE_BUSY": f"is locked: another process has been writing for more than {BUSY_SECONDS} seconds. Try again",
    "SQLITE_LOCKED": "is locked by another connection. Try again",
    "SQLITE_CANTOPEN": "cannot be opened. Check that the folder exists and may be written",
    "SQLITE_NOTADB": "is not an SQLite database. Name another file",
    "SQLITE_CORRUPT": "is damaged. Restore it from a backup",
    "SQLITE_IOERR": "could not be read or written (input/output error). Check the disk",
    "53100": "could not be written: the server's disk is full. Make room; what was written before is intact",
    "53300": "takes no more connections. Try again, or raise the server's max_connections",
    "25006": "could not be written: it is read-only. Connect to a server or as a user that may write",
    "42501": "refuses this user. Grant it the right to use the tables",
    "42P01": NOT_MIGRATED,
    "42703": NOT_MIGRATED,
    "55P03": "is locked by another connection. Try again",
    "40": "undid a transaction that collided with another. Try again",
    "57": "is shutting down, or ended the connection. Try again once it is up",
    "08": "cannot be reached. Check that the server runs, and the URL",
}


def _worded(error: exc.DBAPIError, url: URL) -> Exception:
    """Return the error to raise instead, or the same if it is the caller's mistake and not the database's state."""
    code, first_line = _code(error), str(error.orig).partition("\n")[0]
    known = next((words for start, words in _CAUSES.items() if code.startswith(start)), None)
    if known:
        return StorageError(f"the database {shown(url)} {known} ({first_line})")
    if first_line.startswith("invalid connection option"):  # the driver's word, before any server is asked
        return StorageError(f"the database URL {shown(url)} cannot be used: {first_line}")
    if isinstance(error, exc.DataError):
        return DataError(f"the database cannot hold a value: {first_line}")
    if isinstance(error, exc.OperationalError) and code != "SQLITE_ERROR":
        return StorageError(f"the database {shown(url)} failed: {first_line}")
    return error


def _code(error: exc.DBAPIError) -> str:
    """Return SQLite's name or PostgreSQL's SQLSTATE of an error, or the latter's class if no server answered."""
    message = str(error.orig)
    if isinstance(error.orig, sqlite3.Error):
        missing = message.startswith(("no such table", "no such column")) or "has no column named" in message
        return "42P01" if missing else str(getattr(error.orig, "sqlite_errorname", ""))
    unreachable = "08" if isinstance(error, exc.OperationalError) else ""
    return str(getattr(error.orig, "sqlstate", None) or unreachable)
