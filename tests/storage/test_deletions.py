"""A deleted user stays deleted, whichever file or client says otherwise, until the user comes back later."""

import shutil
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select

from fedmem.storage import deletions
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import AppendResult, Event, ImportResult, InteractionColumns, ItemRow
from fedmem.storage.engine import connect, reading, writing
from fedmem.storage.schema import interactions
from tests.clock import Clock
from tests.storage.builders import everything

NOW = 1_700_000_000.0
ROWS = [("u", "a", NOW - 50), ("v", "a", NOW - 40), ("u", "b", NOW - 30), ("v", "b", NOW - 20)]


@pytest.fixture
def store(engine: Engine, clock: Clock) -> CatalogueStore:
    clock.now = NOW
    return CatalogueStore(engine, clock)


def write(store: CatalogueStore, rows: Sequence[tuple[str, str, float]], **options: bool) -> ImportResult:
    users, items, times = zip(*rows, strict=True)
    return store.write("shop", "/data", InteractionColumns(users, items, times), [], **options)


def times(store: CatalogueStore, user: str) -> list[float]:
    return [row.timestamp for row in store.history("shop", user)]


def test_a_deleted_user_is_not_brought_back_by_the_file(store):
    write(store, ROWS)
    store.delete_user("shop", "u")
    again = write(store, [*ROWS, ("u", "c", NOW - 1)])
    assert (again.new_interactions, again.known_interactions, again.deleted_interactions) == (0, 2, 3)
    assert times(store, "u") == []
    assert store.user_ids("shop") == {"v"}
    assert {item.item_id for item in store.items("shop")} == {"a", "b"}, "of a row that is left out nothing is kept"


def test_a_user_who_was_deleted_before_anything_was_stored_stays_deleted(store):
    write(store, [("v", "a", NOW - 40)])
    store.delete_user("shop", "u")
    assert write(store, ROWS).deleted_interactions == 2
    assert times(store, "u") == []


def test_what_happens_later_is_of_a_user_who_came_back(store, clock):
    write(store, ROWS)
    store.delete_user("shop", "u")
    feedback = [Event("u", "a", NOW - 50), Event("u", "b", NOW), Event("u", "b", NOW + 1), Event("v", "a", NOW - 5)]
    assert store.add_feedback("shop", feedback) == AppendResult(2, 0, 2)
    assert store.add_feedback("shop", feedback) == AppendResult(0, 2, 2)
    assert times(store, "u") == [NOW + 1]
    assert write(store, [*ROWS, ("u", "a", NOW + 2)]).deleted_interactions == 2
    assert times(store, "u") == [NOW + 1, NOW + 2]
    clock.now = NOW + 10
    store.delete_user("shop", "u")
    assert write(store, [*ROWS, ("u", "a", NOW + 2), ("u", "a", NOW + 9), ("u", "a", NOW + 11)]).new_interactions == 1
    assert times(store, "u") == [NOW + 11]


def test_a_second_deletion_by_a_slow_clock_undoes_nothing_of_the_first(store, clock):
    write(store, ROWS)
    store.delete_user("shop", "u")
    clock.now = NOW - 200
    store.delete_user("shop", "u")
    assert store.add_feedback("shop", [Event("u", "a", NOW - 1)]) == AppendResult(0, 0, 1)


def test_rows_from_the_future_that_were_stored_stay_out_too(store, clock):
    write(store, [*ROWS, ("u", "c", NOW + 500)])
    store.delete_user("shop", "u")
    assert write(store, [*ROWS, ("u", "c", NOW + 500)]).deleted_interactions == 3
    clock.now = NOW + 501
    assert store.add_feedback("shop", [Event("u", "a", NOW + 501)]).accepted == 1


def test_another_users_row_from_the_future_keeps_no_user_out(store):
    write(store, [*ROWS, ("v", "c", NOW + 10**9)])
    store.delete_user("shop", "u")
    assert store.add_feedback("shop", [Event("u", "a", NOW + 1)]).accepted == 1


@pytest.mark.parametrize("numbered", [False, True])
def test_steps_are_compared_with_the_newest_step(store, numbered):
    """Row numbers or a counter: no clock says when a step was, but all up to the newest were there before."""
    rows = [("u", "a", 0.0), ("v", "a", 1.0), ("u", "b", 2.0), ("v", "b", 3.0)]
    write(store, rows, numbered=numbered)
    store.delete_user("shop", "u")
    again = write(store, [*rows, ("u", "a", 4.0), ("v", "c", 5.0)], numbered=numbered)
    assert (again.new_interactions, again.known_interactions, again.deleted_interactions) == (2, 2, 2)
    assert times(store, "u") == [4.0]
    assert store.add_feedback("shop", [Event("u", "a", NOW)]).accepted == 1


def test_data_sets_do_not_mix(store):
    write(store, ROWS)
    store.write("other", "/data", InteractionColumns(["u"], ["a"], [NOW - 50]), [ItemRow("a")])
    store.delete_user("other", "u")
    assert write(store, ROWS).deleted_interactions == 0
    assert len(times(store, "u")) == 2
    store.remove("other")
    assert store.write("other", "/data", InteractionColumns(["u"], ["a"], [NOW - 50]), []).new_interactions == 1


def test_the_id_of_a_deleted_user_is_in_no_table(engine, store):
    write(store, [("a-person@example.org", "a", NOW - 10), *ROWS])
    store.delete_user("shop", "a-person@example.org")
    assert "a-person" not in repr(everything(engine))
    digests = [row.user_digest for row in _deletions(engine)]
    store.write("other", "/data", InteractionColumns(["u"], ["a"], [NOW]), [])
    store.delete_user("other", "a-person@example.org")
    assert len({*digests, *(row.user_digest for row in _deletions(engine))}) == 2, "each data set has a salt of its own"


def test_the_id_of_a_deleted_user_is_in_no_file_of_the_database(tmp_path, sqlite_migrated_url):
    engine = connect(sqlite_migrated_url)
    store = CatalogueStore(engine)
    write(store, [(f"a-person-{number}@example.org", "a", NOW - number) for number in range(200)])
    engine.dispose()
    assert b"a-person-77@example" in (tmp_path / "fedmem.db").read_bytes()
    store.delete_user("shop", "a-person-77@example.org")
    engine.dispose()
    for file in tmp_path.iterdir():
        assert b"a-person-77@example" not in file.read_bytes()
    assert len(store.user_ids("shop")) == 199
    engine.dispose()


def with_rows_that_moved(url: str, seed: int) -> tuple[CatalogueStore, list[str]]:
    """A database whose pages were split and merged, and its users, of whom the first half was deleted."""
    engine, rng = connect(url), np.random.default_rng(seed)
    event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = OFF"))
    store = CatalogueStore(engine)
    users = [f"person-{number}-{'x' * rng.integers(60)}@example.org" for number in range(100)]
    taken = zip(rng.integers(0, 100, 2000), rng.integers(0, 300, 2000), strict=True)
    rows = [(users[user], f"item {item}", NOW - place) for place, (user, item) in enumerate(taken)]
    for first in range(0, len(rows), 100):
        write(store, rows[first : first + 100])
    for user in users[:50]:
        store.delete_user("shop", user)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return store, users


def test_no_copy_of_a_deleted_row_stays_where_rows_have_moved_between_pages(tmp_path, migrated_file):
    """With SQLite 3.40 five of six such databases hold users still whose rows were overwritten (``secure_delete``)."""
    for seed in range(10):
        file = tmp_path / f"{seed}.db"
        shutil.copyfile(migrated_file, file)
        store, users = with_rows_that_moved(f"sqlite:///{file}", seed)
        if any(user.encode() in file.read_bytes() for user in users[:50]):
            break
    else:
        pytest.skip("this SQLite leaves no copies")
    assert store.forget_deleted()
    assert store.forget_deleted(), "and there is nothing to do"
    assert [user for user in users if user.encode() in file.read_bytes()] == users[50:]
    assert len(store.user_ids("shop")) == 50


def test_files_are_rid_of_deleted_rows_once_no_reader_is_left(sqlite_migrated_url):
    engine = connect(sqlite_migrated_url)
    store = CatalogueStore(engine)
    write(store, ROWS)
    with reading(engine) as reader:
        reader.execute(select(interactions)).all()
        store.delete_user("shop", "u")
        assert not store.forget_deleted()
    with writing(engine):
        assert not store.forget_deleted()
    assert store.forget_deleted()
    engine.dispose()


def _deletions(engine: Engine):
    with engine.connect() as connection:
        return connection.execute(deletions.deletions.select()).all()


@pytest.mark.parametrize("asked_together", [3, 11])
def test_however_many_users_are_asked_for(store, monkeypatch, asked_together):
    monkeypatch.setattr(deletions, "ASKED_TOGETHER", asked_together)
    rows = [(f"user {number}", "a", NOW - number) for number in range(11)]
    write(store, rows)
    for number in (*range(0, 11, 2), 99):
        store.delete_user("shop", f"user {number}")
    assert write(store, rows).deleted_interactions == 6
    assert store.user_ids("shop") == {f"user {number}" for number in range(1, 11, 2)}


STEPS = st.tuples(st.sampled_from(["delete", "feedback", "import"]), st.sampled_from("uvw"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
@given(st.lists(STEPS, max_size=8))
def test_whatever_happens_there_is_what_users_did_since_their_deletion(store, clock, steps):
    """The file always holds every row that ever was."""
    if any(row.name == "shop" for row in store.datasets()):
        store.remove("shop")
    file = [(user, "a", NOW + number) for number, user in enumerate("uvwuvw")]
    deleted, there = dict.fromkeys("uvw", 0.0), set(file)
    write(store, file)
    for number, (step, user) in enumerate(steps):
        clock.now = NOW + 10.0 * (number + 1)
        if step == "delete":
            store.delete_user("shop", user)
            deleted[user] = clock.now
            there = {row for row in there if row[0] != user}
        elif step == "feedback":
            file.append((user, "a", clock.now))
            store.add_feedback("shop", [Event(*file[-1])])
            there.add(file[-1])
        else:
            imported = write(store, file)
            assert imported.deleted_interactions == sum(row[2] <= deleted[row[0]] for row in file)
        assert {(row.user_id, row.item_id, row.timestamp) for row in store.since("shop", 0)} == there
