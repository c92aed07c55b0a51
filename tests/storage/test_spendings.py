"""What backends tell each other of what they let through, on both kinds of database."""

import pytest
from sqlalchemy import select

from fedmem.storage.engine import reading, writing
from fedmem.storage.schema import spendings
from fedmem.storage.spendings import ALIVE, BEAT, KEPT, SpendingStore
from tests.clock import Clock


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """PostgreSQL's, too, is the test's own."""
    clock = Clock(1e9)
    monkeypatch.setattr("fedmem.storage.spendings.database_time", lambda connection: clock())
    return clock


@pytest.fixture
def two(engine, clock) -> list[SpendingStore]:
    stores = [SpendingStore(engine) for _ in range(2)]
    for store in stores:
        store.exchange({})
    return stores


def rows(engine) -> int:
    with reading(engine) as connection:
        return len(connection.execute(select(spendings)).all())


def test_one_alone_is_one(engine, clock):
    assert SpendingStore(engine).exchange({}) == (1, {})


def test_what_one_spends_the_other_hears_of_once(two, clock):
    one, other = two
    assert one.exchange({"a": 3, "b": 0.5}) == (2, {})
    assert one.exchange({"a": 2}) == (2, {})
    assert other.exchange({"a": 7}) == (2, {"a": 5, "b": 0.5})
    assert other.exchange({}) == (2, {})
    assert one.exchange({}) == (2, {"a": 7})


def test_one_that_starts_begins_with_the_last_minute(two, engine, clock):
    two[0].exchange({"a": 3})
    clock.now += KEPT + 1
    two[0].exchange({"a": 4})
    assert SpendingStore(engine).exchange({}) == (2, {"a": 4})


def test_one_that_has_nothing_to_tell_is_heard_of_all_the_same(two, engine, clock):
    before = rows(engine)
    for _ in range(4):
        clock.now += BEAT / 4
        assert two[0].exchange({})[0] == 2
    assert rows(engine) == before + 1, "it writes now and then alone"
    for _ in range(20):
        clock.now += BEAT
        assert [store.exchange({})[0] for store in two] == [2, 2]
    assert rows(engine) <= 2 * (KEPT / BEAT + 2)


def test_one_that_ends_or_dies_is_counted_no_more(two, engine, clock):
    two[1].leave()
    assert two[0].exchange({})[0] == 1
    two[1].exchange({"a": 1})
    assert two[0].exchange({})[0] == 2
    clock.now += ALIVE + 1
    assert two[0].exchange({})[0] == 1
    clock.now += KEPT + 1
    SpendingStore(engine).exchange({})
    assert rows(engine) == 1, "one that starts removes what the dead have left"


def test_one_that_is_asked_seldom_may_be_silent_for_longer(engine, clock):
    slow = [SpendingStore(engine, alive=180) for _ in range(2)]
    slow[0].exchange({})
    clock.now += 60
    assert slow[1].exchange({})[0] == 2


@pytest.mark.parametrize("spent", ['"a"', '{"a": "much"}', "[1]", '{"a": 1e999}', "null"])
def test_a_damaged_row_says_nothing(two, engine, clock, spent):
    one, other = two
    one.exchange({"a": 1})
    with writing(engine) as connection:
        connection.exec_driver_sql(f"UPDATE spendings SET spent = '{spent}' WHERE number = 1")
    one.exchange({"b": 1})
    assert other.exchange({}) == (2, {"b": 1})
