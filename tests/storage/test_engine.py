"""Connections and their errors: what a transaction sees, who waits for whom, and one sentence for what goes wrong."""

import os
import socket
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import event, func, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError

import migrations
from fedmem.errors import DataError, StorageError
from fedmem.storage import engine as engine_module
from fedmem.storage.engine import connect, parse_url, reading, schema_revision, shown, writing
from fedmem.storage.schema import datasets, jobs


def insert_dataset(engine, name="demo"):
    with writing(engine) as connection:
        connection.execute(datasets.insert().values(name=name, source="somewhere", imported_at=1.0))


def insert_and_fail(connection):
    connection.execute(datasets.insert().values(name="demo", source="x", imported_at=1.0))
    raise RuntimeError("no")


def count(engine):
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(datasets))


def test_sqlite_is_set_up_for_many_processes(sqlite_url):
    expected = {"journal_mode": "wal", "busy_timeout": 30_000, "foreign_keys": 1, "synchronous": 2}
    engine = connect(sqlite_url)
    with reading(engine) as connection:
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected} == expected
    engine.dispose()


def test_foreign_keys_hold(engine):
    values = {"kind": "training", "config": {}, "state": "queued", "desired_state": "running", "num_rounds": 1}
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(jobs.insert().values(dataset_id=17, created_at=0.0, request_digest="", **values))


def test_what_is_raised_inside_undoes_the_transaction(engine):
    with pytest.raises(RuntimeError), writing(engine) as connection:
        insert_and_fail(connection)
    assert count(engine) == 0


def test_readers_and_a_writer_do_not_wait_for_each_other(engine):
    with writing(engine) as writer:
        writer.execute(datasets.insert().values(name="first", source="x", imported_at=1.0))
        assert count(engine) == 0
    with reading(engine) as reader:
        assert reader.scalar(select(func.count()).select_from(datasets)) == 1
        insert_dataset(engine, "second")
        # The reader's snapshot stands while it reads.
        assert reader.scalar(select(func.count()).select_from(datasets)) == 1
    assert count(engine) == 2


def test_a_second_writer_on_sqlite_waits_its_turn(sqlite_engine):
    """Both read, then write: without the lock at the start one of them would fail or overwrite the other."""

    def add_one():
        for _ in range(20):
            with writing(sqlite_engine) as connection:
                number = connection.scalar(select(func.count()).select_from(datasets))
                connection.execute(datasets.insert().values(name=str(number), source="x", imported_at=1.0))

    threads = [threading.Thread(target=add_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(sqlite_engine) == 80


def test_the_folder_of_an_sqlite_file_is_made(tmp_path):
    engine = connect(f"sqlite:///{tmp_path}/a/b/fedmem.db")
    assert schema_revision(engine) is None
    assert (tmp_path / "a" / "b" / "fedmem.db").is_file()
    engine.dispose()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file/fedmem\.db cannot be made"):
        connect(f"sqlite:///{tmp_path}/file/fedmem.db")


@pytest.mark.parametrize("url", ["postgres://u@h/d", "postgresql://u@h/d", "postgresql+psycopg://u@h/d"])
def test_postgresql_goes_by_psycopg(url):
    assert parse_url(url).drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "cannot be read"),
        ("runs/fedmem.db", "cannot be read"),
        ("postgresql://me:secret@host:port/db", "cannot be read"),
        ("mysql://me:secret@host/db", r"mysql://me:\*\*\*@host/db: the database must be"),
        ("postgresql+asyncpg://me:secret@host/db", "the database must be"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_urls_that_are_refused(url, words):
    with pytest.raises(StorageError, match=words) as caught:
        connect(url)
    assert "secret" not in str(caught.value)


def test_an_unreachable_server(unused_port):
    engine = connect(f"postgresql://me:secret@127.0.0.1:{unused_port}/db")
    with pytest.raises(StorageError, match=r"me:\*\*\*@127.* cannot be reached. Check that the server runs") as caught:
        count(engine)
    assert "secret" not in str(caught.value)


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_without_psycopg(monkeypatch):
    def missing(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'psycopg'")

    monkeypatch.setattr(engine_module, "create_engine", missing)
    with pytest.raises(StorageError, match=r"pip install 'fedmem\[postgres\]'"):
        connect("postgresql://me@host/db")


def test_a_database_that_was_not_migrated(empty_url):
    engine = connect(empty_url)
    with pytest.raises(StorageError, match="run: fedmem db upgrade"):
        count(engine)
    with pytest.raises(StorageError, match="run: fedmem db upgrade"):
        insert_dataset(engine)
    engine.dispose()


def test_a_column_of_a_newer_version(empty_url):
    migrations.upgrade(empty_url)
    engine = connect(empty_url)
    with writing(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE datasets RENAME COLUMN source TO origin")
    with pytest.raises(StorageError, match="run: fedmem db upgrade"):
        insert_dataset(engine)
    with pytest.raises(StorageError, match="run: fedmem db upgrade"), reading(engine) as connection:
        connection.execute(datasets.select())
    engine.dispose()


def fill(engine):
    while True:
        with writing(engine) as connection:
            connection.execute(
                datasets.insert(), [{"name": os.urandom(200).hex(), "source": "x", "imported_at": 1.0}] * 1
            )


def test_a_full_disk(sqlite_engine):
    """SQLite's own limit of pages stands for the disk's: the same error comes from the same place."""
    insert_dataset(sqlite_engine)
    event.listen(sqlite_engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 60"))
    sqlite_engine.dispose()
    with pytest.raises(StorageError, match=r"fedmem\.db could not be written: the disk is full"):
        fill(sqlite_engine)
    with reading(sqlite_engine) as connection:
        assert connection.scalar(select(datasets.c.source).where(datasets.c.name == "demo")) == "somewhere"
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_a_read_only_sqlite_file(sqlite_engine):
    insert_dataset(sqlite_engine)
    engine = connect(f"sqlite:///file:{sqlite_engine.url.database}?mode=ro&uri=true")
    assert count(engine) == 1
    with pytest.raises(StorageError, match="could not be written: it is read-only"):
        insert_dataset(engine, "another")
    assert count(engine) == 1
    engine.dispose()


def test_a_read_only_postgresql(postgresql_migrated_url):
    options = parse_url(postgresql_migrated_url).query["options"]
    url = parse_url(postgresql_migrated_url).update_query_dict(
        {"options": f"{options} -cdefault_transaction_read_only=on"}
    )
    engine = connect(url.render_as_string(hide_password=False))
    with pytest.raises(StorageError, match="could not be written: it is read-only"):
        insert_dataset(engine)
    engine.dispose()


def test_reading_writes_nothing_on_postgresql(postgresql_migrated_url):
    """SQLite has no transactions that are declared to read only."""
    engine = connect(postgresql_migrated_url)
    with pytest.raises(StorageError, match="read-only"), reading(engine) as connection:
        connection.execute(datasets.insert().values(name="demo", source="x", imported_at=1.0))
    engine.dispose()


def test_a_lock_that_is_held_too_long(sqlite_url, sqlite_engine, monkeypatch):
    monkeypatch.setattr(engine_module, "BUSY_SECONDS", 0.05)
    impatient = connect(sqlite_url)
    with writing(sqlite_engine), pytest.raises(StorageError, match="is locked: another process"):
        insert_dataset(impatient)
    impatient.dispose()


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "fedmem.db").write_text("user,item\n" * 1000)
    engine = connect(f"sqlite:///{tmp_path}/fedmem.db")
    with pytest.raises(StorageError, match="is not an SQLite database"):
        count(engine)
    engine.dispose()


def test_a_folder_in_the_place_of_the_file(tmp_path):
    engine = connect(f"sqlite:///{tmp_path}")
    with pytest.raises(StorageError, match="cannot be opened"):
        count(engine)
    engine.dispose()


def test_a_value_that_postgresql_cannot_hold(postgresql_migrated_url):
    engine = connect(postgresql_migrated_url)
    with pytest.raises(DataError, match=r"cannot hold a value: .*NUL"):
        insert_dataset(engine, "a\x00b")
    engine.dispose()


def test_nan_does_not_enter_a_json_column(engine):
    values = {"kind": "training", "state": "queued", "desired_state": "running", "num_rounds": 1}
    with pytest.raises(ValueError, match="not JSON compliant"), writing(engine) as connection:
        connection.execute(jobs.insert().values(config={"x": float("nan")}, dataset_id=1, **values))


def test_a_mistake_in_a_statement_is_no_storage_error(engine):
    """What no operator can mend must keep its traceback."""
    wrong = "SELECT count(*) FROM datasets WHERE name = 1 / 'x' ::" if engine.dialect.name == "postgresql" else "SELEKT"
    with pytest.raises(DBAPIError, match="syntax error"), reading(engine) as connection:
        connection.exec_driver_sql(wrong)


def test_shown_hides_the_password():
    assert shown(parse_url("postgresql://me:secret@host/db")) == "postgresql+psycopg://me:***@host/db"


def test_two_processes_may_open_a_new_file_at_once(sqlite_url, sqlite_engine):
    """A file in WAL mode stays in it, so that opening it needs no lock, even while another writes."""
    with writing(sqlite_engine):
        raw = sqlite3.connect(sqlite_engine.url.database, timeout=0)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        raw.close()
        other = connect(sqlite_url)
        assert count(other) == 0
        other.dispose()


def test_a_database_of_old_is_taken_from_others(sqlite_migrated_url):
    path = Path(str(make_url(sqlite_migrated_url).database))
    path.chmod(0o644)
    connect(sqlite_migrated_url).dispose()
    assert path.stat().st_mode & 0o777 == 0o600
