"""One damaged row of interactions spoils nothing but itself."""

import logging
import time

import pytest
from sqlalchemy import text

from fedmem.storage import stored_interactions
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event, InteractionColumns, ItemRow
from fedmem.storage.engine import writing

USERS, ITEMS, TIMES = ["u", "u", "v", "v", "u"], ["a", "b", "a", "b", "c"], [1e9, 2e9, 3e9, 4e9, 1.5e9]
ON_SQLITE = ["timestamp = 'then'", "timestamp = x'ff'", "user_id = x'ff'", "item_id = x'00'"]
ON_POSTGRESQL = ["timestamp = 'NaN'", "timestamp = 'Infinity'", "timestamp = '-Infinity'"]


@pytest.fixture(autouse=True)
def said():
    stored_interactions._warn_once.cache_clear()


@pytest.fixture
def store(engine):
    store = CatalogueStore(engine)
    store.write("films", "test", InteractionColumns(USERS, ITEMS, TIMES), [ItemRow(item) for item in "abc"])
    return store


def damages(engine) -> list[str]:
    return ON_POSTGRESQL if engine.dialect.name == "postgresql" else ["timestamp = 9e999", *ON_SQLITE]


def damage(engine, change: str, row: int) -> None:
    with writing(engine) as connection:
        assert connection.execute(text(f"UPDATE interactions SET {change} WHERE id = {row}")).rowcount == 1


def restore(engine, row: int) -> None:
    damage(engine, "user_id = 'u', item_id = 'b', timestamp = 2e9", row)


def test_a_damaged_row_is_left_out_of_every_reading_and_said_with_its_number(engine, store, caplog):
    ids = [row.id for row in store.since("films", 0)]
    whole = ids[:1] + ids[2:]
    with caplog.at_level(logging.WARNING):
        for change in damages(engine):
            damage(engine, change, ids[1])
            snapshot = store.snapshot("films")
            assert snapshot.last_id == ids[-1]
            rows = zip(*vars(snapshot.interactions).values(), strict=True)
            assert list(rows) == [("u", "a", 1e9), ("v", "a", 3e9), ("v", "b", 4e9), ("u", "c", 1.5e9)]
            assert [row.item_id for row in store.history("films", "u")] == ["a", "c"]
            assert [row.id for row in store.since("films", 0)] == whole
            assert [row.user_id for row in store.users("films")] == ["u", "v"]
            restore(engine, ids[1])
    assert {record.getMessage() for record in caplog.records} == {
        f"1 interaction of the data set 'films' is damaged in the database and left out, from row {ids[1]} of the "
        "table interactions on: restore a backup, or delete such rows"
    }
    assert [row.id for row in store.since("films", 0)] == ids


def test_pages_of_damaged_rows_alone_end_no_reading(engine, store, caplog):
    ids = [row.id for row in store.since("films", 0)]
    for row in ids[1:4]:
        damage(engine, damages(engine)[0], row)
    found = [store.since("films", after, limit=1) for after in (0, ids[0], ids[4])]
    assert [[row.id for row in rows] for rows in found] == [[ids[0]], [ids[4]], []]
    store.snapshot("films")
    assert f"3 interactions of 'films' are damaged in the database and left out, from row {ids[1]} of" in caplog.text


def test_a_user_with_a_damaged_row_is_deleted_and_later_comes_back(engine, store):
    damage(engine, damages(engine)[0], store.since("films", 0)[1].id)
    assert store.delete_user("films", "u").interactions == 3
    assert store.add_feedback("films", [Event("u", "a", time.time() + 60)]).accepted == 1
    assert [row.item_id for row in store.history("films", "u")] == ["a"]


def test_steps_stay_steps_beside_a_damaged_row(engine, store):
    store.write("steps", "test", InteractionColumns(["u", "v", "v"], ["a", "a", "b"], [1.0, 2.0, 3.0]), [])
    damage(engine, damages(engine)[0], store.since("steps", 0)[2].id)
    store.delete_user("steps", "u")
    assert store.add_feedback("steps", [Event("u", "a", 4.0)]).accepted == 1
