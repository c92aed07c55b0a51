"""Imports are seen whole or not at all, keep no other writer waiting, and leave nothing when they are killed."""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, event, func, select

from fedmem.errors import ConflictError, UnknownDatasetError, UnknownItemError
from fedmem.storage import imports, turns
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import AppendResult, Event, InteractionColumns, ItemRow
from fedmem.storage.import_lock import alone
from fedmem.storage.schema import datasets, interactions, items
from tests.waiting import PATIENCE

OLD, NEW = ("u", "a", 1.0), [(f"n{number}", "b", float(number)) for number in range(8)]
ITEMS = [ItemRow("a", "Changed"), ItemRow("b", "New"), ItemRow("c", "New too")]


@pytest.fixture
def store(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> CatalogueStore:
    """One with a data set, whose imports put three rows in a transaction."""
    for module in ("turns", "imports", "import_writer"):
        monkeypatch.setattr(f"fedmem.storage.{module}.PIECE", 3)
    monkeypatch.setattr(turns, "HOLD", 0.0)
    monkeypatch.setattr(turns, "sleep", lambda seconds: None)
    store = CatalogueStore(engine)
    store.write("shop", "/old", InteractionColumns(*zip(OLD, strict=True)), [ItemRow("a", "Old")])
    return store


def write(store: CatalogueStore, name: str = "shop", **options):
    rows = InteractionColumns(*zip(*NEW, strict=True))
    return store.write(name, "/new", rows, ITEMS, **options)


def between(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> list[int]:
    """Do this between any two transactions of an import, and count how often."""
    calls: list[int] = []

    def sleep(seconds: float) -> None:
        calls.append(len(calls))
        do()

    monkeypatch.setattr(turns, "sleep", sleep)
    return calls


def rows_of(store: CatalogueStore, name: str = "shop") -> set[tuple[str, str, float]]:
    return {(row.user_id, row.item_id, row.timestamp) for row in store.since(name, 0)}


def all_of(store: CatalogueStore):
    """What every method that reads says."""
    row, snapshot = store.dataset("shop"), store.snapshot("shop")
    return (
        row.users, row.items, row.interactions, row.source, store.items("shop"), rows_of(store), snapshot.last_id,
        list(snapshot.interactions.users), snapshot.items, store.users("shop"), store.user_ids("shop"),
        store.history("shop", "n1"), store.find_items("shop"), store.find_items("shop", search="new"),
        store.items_by_id("shop", "abc"), store.items_since("shop")[1], [one.name for one in store.datasets()],
    )  # fmt: skip


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (datasets, imports.imports, interactions, items)
        }


def test_a_reader_sees_all_of_an_import_or_nothing(store, engine, monkeypatch):
    before, seen = all_of(store), []
    calls = between(monkeypatch, lambda: seen.append(all_of(store)))
    write(store)
    after = all_of(store)
    assert len(calls) >= 4
    assert seen[:4] == [before] * 4
    assert all(one in (before, after) for one in seen)
    assert (after[:4], [row.title for row in store.items("shop")]) == ((9, 3, 9, "/new"), ["Changed", "New", "New too"])
    assert rows_of(store) == {OLD, *NEW}
    assert counts(engine) == {"datasets": 1, "imports": 0, "interactions": 9, "items": 3}, "and what was is gone"


def test_a_new_data_set_is_not_there_before_it_is_whole(store, monkeypatch):
    def look() -> None:
        if "new" not in [row.name for row in store.datasets()]:
            with pytest.raises(UnknownDatasetError, match="there are: shop"):
                store.add_feedback("new", [])
            with pytest.raises(UnknownDatasetError):
                store.snapshot("new")

    calls = between(monkeypatch, look)
    write(store, "new")
    assert len(calls) >= 4
    assert rows_of(store, "new") == set(NEW)


def test_no_transaction_of_an_import_writes_more_than_a_piece(store, engine):
    written: list[int] = []
    event.listen(engine, "begin", lambda connection: written.append(0))

    @event.listens_for(engine, "after_cursor_execute")
    def count(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith(("INSERT INTO interactions", "INSERT INTO items", "DELETE FROM i")):
            written[-1] += max(cursor.rowcount, 0)

    write(store)
    assert sum(written) >= len(NEW) + len(ITEMS) + 1
    assert max(written) <= 3


def test_whoever_else_writes_has_a_turn_within_an_import(store, monkeypatch):
    done = []

    def others() -> None:
        time = 100.0 + len(done)
        done.append(store.add_feedback("shop", [Event("u", "a", time)]))
        assert rows_of(store) >= {OLD, ("u", "a", time)}

    between(monkeypatch, others)
    write(store)
    assert done == [AppendResult(1, 0)] * len(done)
    assert len(done) >= 4
    assert rows_of(store) == {OLD, *NEW, *(("u", "a", 100.0 + number) for number in range(len(done)))}


def test_feedback_that_is_in_the_import_too_is_kept_whatever_becomes_of_that(store, monkeypatch):
    def once() -> None:
        if ("n1", "a", 1.0) not in rows_of(store):
            assert store.add_feedback("shop", [Event("n1", "a", 1.0)]) == AppendResult(1, 0)
            raise KeyboardInterrupt

    rows = [("n1", "a", 1.0), *NEW]
    between(monkeypatch, once)
    monkeypatch.setattr(imports, "publish", None)
    with pytest.raises(KeyboardInterrupt):
        store.write("shop", "/new", InteractionColumns(*zip(*rows, strict=True)), [])
    assert rows_of(store) == {OLD, ("n1", "a", 1.0)}


def test_an_item_that_is_put_within_an_import_stays_as_it_was_put(store, engine, monkeypatch):
    def put() -> None:
        store.put_item("shop", ItemRow("a", "By hand"))
        store.put_item("shop", ItemRow("c", "By hand"))

    between(monkeypatch, put)
    write(store)
    assert [row.title for row in store.items("shop")] == ["By hand", "New", "By hand"]
    assert counts(engine)["items"] == 3


def test_an_item_of_an_import_under_way_is_unknown(store, monkeypatch):
    refused = []

    def ask() -> None:
        if store.find_items("shop").total == 1:
            with pytest.raises(UnknownItemError):
                store.add_feedback("shop", [Event("u", "c", 5.0)])
            refused.append(True)

    between(monkeypatch, ask)
    write(store)
    assert len(refused) >= 4


def test_a_user_who_is_deleted_within_an_import_does_not_come_with_it(store, engine, monkeypatch):
    calls = between(monkeypatch, lambda: [store.delete_user("shop", user) for user in ("n1", "n7")])
    done = write(store)
    assert len(calls) >= 4
    assert store.user_ids("shop") == {"u", "n0", "n2", "n3", "n4", "n5", "n6"}
    assert counts(engine)["interactions"] == 7
    assert done.deleted_interactions == 1, "the other's row was written before, and deleted"


def test_a_second_import_waits_for_the_first(store, monkeypatch):
    said, threads = [], []

    def second() -> None:
        if not threads:
            waits = threading.Event()
            progress = lambda stage, done, total: (said.append(stage), waits.set())  # noqa: E731
            threads.append(threading.Thread(target=lambda: write(store, "other", progress=progress)))
            threads[0].start()
            assert waits.wait(PATIENCE)
            store.clear()  # leaves the import under way alone

    between(monkeypatch, second)
    write(store)
    threads[0].join(PATIENCE)
    assert said[0] == "waiting for another import"
    assert rows_of(store) == {OLD, *NEW}
    assert rows_of(store, "other") == set(NEW)


def test_an_import_that_was_held_to_be_dead_stores_nothing(store, engine, monkeypatch):
    """As where the connection that held the lock on PostgreSQL is cut."""
    calls = between(monkeypatch, lambda: imports.clear(engine) if len(calls) == 3 else None)
    with pytest.raises(ConflictError, match="import again"):
        write(store)
    assert rows_of(store) == {OLD}
    assert counts(engine) == {"datasets": 1, "imports": 0, "interactions": 1, "items": 1}


KILLED = """
import os, signal, sys
from fedmem.storage import imports, import_writer, turns
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect

url, name, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
turns.PIECE = imports.PIECE = import_writer.PIECE = 3
turns.HOLD, left = 0.0, [number]

def sleep(seconds):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

turns.sleep = sleep
rows = [(f"n{number}", "b", float(number)) for number in range(8)]
items = [ItemRow("a", "Changed"), ItemRow("b", "New"), ItemRow("c", "New too")]
CatalogueStore(connect(url)).write(name, "/new", InteractionColumns(*zip(*rows)), items)
"""


@pytest.mark.parametrize(("name", "number"), [("shop", 3), ("new", 3), ("shop", 5)])
def test_an_import_that_is_killed_is_never_seen_and_cleared_away(store, engine, name, number):
    """In the middle of its rows; in the last case when all can be seen, but what was replaced is still to go."""
    before, counted = all_of(store), counts(engine)
    url = engine.url.render_as_string(hide_password=False)
    killed = subprocess.run([sys.executable, "-c", KILLED, url, name, str(number)], check=False)
    assert killed.returncode == -9
    left = counts(engine)
    assert left["imports"] == 1
    if number == 3:
        assert left["interactions"] > 1
        assert all_of(store) == before
        store.clear()
        assert counts(engine) == counted
        assert all_of(store) == before
    write(store, name)
    assert rows_of(store, name) == {*NEW, *([OLD] if name == "shop" else [])}
    assert counts(engine)["imports"] == 0
    assert store.find_items(name).total == 3


def test_a_lock_is_given_back(store, engine):
    with alone(engine) as taken:
        assert taken
        with alone(engine) as again:
            assert not again
    with alone(engine) as taken:
        assert taken
