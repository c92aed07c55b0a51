"""The catalogue: imports whole or not at all, nothing twice, and every question against what was put in."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from fedmem.errors import ConflictError, DataError, UnknownDatasetError, UnknownItemError
from fedmem.identifiers import read_id
from fedmem.storage import turns
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import (
    AppendResult,
    DeletionResult,
    Event,
    ImportResult,
    InteractionColumns,
    InteractionRow,
    ItemRow,
    UserRow,
)
from fedmem.storage.interactions import BATCH
from fedmem.storage.jobs import JobStore
from fedmem.storage.turns import PIECE
from tests.clock import Clock
from tests.storage.builders import queue

LATER = 5e9  # than all that happens here
FILMS = (
    ItemRow("1", "The Matrix", ("Action", "Sci-Fi"), 1999, "/covers/1.jpg", "The Matrix (1999). Action, Sci-Fi"),
    ItemRow("2", "Mat", ("Drama",), 2001),
    ItemRow("3", "Élan 100%", ("Drama", 'a "quoted" one, here'), None),
    ItemRow("x y/ä", "", (), None, None, ""),
)
ROWS = (("u1", "1", 3.0), ("u1", "2", 1.0), ("u2", "1", 2.0), ("u1", "3", 1.0), ("ü 3", "x y/ä", 5.5))


@pytest.fixture
def store(engine: Engine, clock: Clock) -> CatalogueStore:
    return CatalogueStore(engine, clock)


def columns(rows=ROWS) -> InteractionColumns:
    users, items, times = zip(*rows, strict=True)
    return InteractionColumns(users, items, times)


def imported(
    interactions: tuple[int, int], items: tuple[int, int, int], *, deleted: int = 0, edits_kept: int = 0
) -> ImportResult:
    """New and known interactions; new, changed and kept items."""
    return ImportResult(*interactions, deleted, *items, edits_kept)


def triples(rows) -> list[tuple[str, str, float]]:
    return [(row.user_id, row.item_id, row.timestamp) for row in rows]


@pytest.fixture
def films(store: CatalogueStore) -> CatalogueStore:
    store.write("films", "/data/films", columns(), FILMS)
    return store


def test_what_is_imported_is_there(store):
    assert store.datasets() == []
    assert store.write("films", "/data/films", columns(), FILMS) == imported(interactions=(5, 0), items=(4, 0, 0))
    row = store.dataset("films")
    assert (row.users, row.items, row.interactions) == (3, 4, 5)
    assert (row.name, row.source, row.imported_at) == ("films", "/data/films", 1000.0)
    assert store.datasets() == [row]
    assert store.items("films") == sorted(FILMS, key=lambda item: item.item_id)
    assert store.item("films", "1").changed_at == 1000.0
    assert triples(store.since("films", 0)) == list(ROWS)


def test_importing_again_adds_only_what_is_new_and_updates_what_changed(films, clock):
    clock.now = 2000.0
    assert films.write("films", "/elsewhere", columns(), FILMS) == imported(interactions=(0, 5), items=(0, 0, 4))
    renamed = ItemRow("2", "Mat, renamed", ("Drama",), 2001)
    more = (*ROWS, ("u4", "new", 9.0))
    done = films.write("films", "/elsewhere", columns(more), [*FILMS[:1], renamed, ItemRow("new", "New")])
    assert done == imported(interactions=(1, 5), items=(1, 1, 3))
    assert films.item("films", "2") == renamed
    assert films.item("films", "2").changed_at == 2000.0
    assert films.item("films", "1").changed_at == 1000.0
    row = films.dataset("films")
    assert (row.interactions, row.source, row.imported_at) == (6, "/elsewhere", 2000.0)


def test_data_sets_do_not_mix(films):
    films.write("others", "/data/others", columns([("u1", "1", 3.0), ("u9", "1", 4.0)]), [ItemRow("1", "Another")])
    assert films.item("films", "1").title == "The Matrix"
    assert films.item("others", "1").title == "Another"
    assert triples(films.history("others", "u1")) == [("u1", "1", 3.0)]
    assert triples(films.since("films", 0)) == list(ROWS)
    assert [user.user_id for user in films.users("others")] == ["u1", "u9"]
    assert films.delete_user("others", "u1").interactions == 1
    assert len(films.history("films", "u1")) == 3
    films.remove("others")
    assert films.dataset("films").interactions == 5


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_import_that_is_interrupted_leaves_nothing(films, interruption):
    def interrupt(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("interactions", 2 * BATCH)
        if done == BATCH:
            raise interruption

    rows = columns([(f"n{number % 7}", "1", float(number)) for number in range(2 * BATCH)])
    before = films.dataset("films")
    for name in ("films", "new"):
        with pytest.raises(interruption):
            films.write(name, "/broken", rows, [ItemRow("1", "Overwritten"), ItemRow("n")], progress=interrupt)
    assert films.datasets() == [before]
    assert films.items("films") == sorted(FILMS, key=lambda item: item.item_id)
    assert films.write("new", "/whole", rows, [ItemRow("1")]) == imported(interactions=(2 * BATCH, 0), items=(1, 0, 0))


def test_an_item_that_cannot_be_stored_is_refused_before_anything_is(store):
    for field in ({"title": "\0"}, {"genres": ("Drama", "a\0b")}, {"text": "\0"}):
        with pytest.raises(DataError, match=r"'9' holds the character U\+0000"):
            store.write("films", "/data", columns(), [*FILMS, ItemRow("9", **field)])
    assert store.datasets() == []


@pytest.mark.parametrize("name", ["", " ", " films", "two\nlines", "\0", "x/y", ".hidden"])
def test_a_name_must_be_one(store, name):
    with pytest.raises(DataError, match="cannot name a data set"):
        store.write(name, "/data", columns(), FILMS)


def test_rows_known_by_their_number_must_continue_the_last_import(store, clock):
    clock.now = LATER

    def write(*pairs: tuple[str, str]) -> ImportResult:
        rows = columns([(user, item, float(number)) for number, (user, item) in enumerate(pairs)])
        return store.write("s", "/data/s.txt", rows, [ItemRow(item) for item in "abc"], numbered=True)

    first = ("u", "a"), ("u", "b"), ("v", "a")
    assert write(*first).new_interactions == 3
    assert write(*first) == imported(interactions=(0, 3), items=(0, 0, 3))
    assert write(*first, ("v", "b")) == imported(interactions=(1, 3), items=(0, 0, 3))
    store.add_feedback("s", [Event("u", "c", 1.7e9)])  # times of feedback are no row numbers
    assert write(*first, ("v", "b"), ("v", "c")) == imported(interactions=(1, 4), items=(0, 0, 3))
    with pytest.raises(ConflictError, match=r"4 rows of the data set 's' are not at theirs.* fedmem data remove s"):
        write(("u", "a"), ("new", "b"), *first[1:], ("v", "b"), ("v", "c"))
    assert store.dataset("s").interactions == 6


def test_rows_without_times_are_refused_where_others_have_times(store):
    store.write("s", "/data", columns([("u", "a", 1.7e9)]), [])
    with pytest.raises(
        ConflictError, match=r"/rows.txt has no times, and the rows of the data set 's' have.* another name"
    ):
        store.write("s", "/rows.txt", columns([("u", "a", 0.0), ("u", "b", 1.0)]), [], numbered=True)
    assert store.dataset("s").interactions == 1


def test_what_is_to_come_is_refused_but_a_step_is_no_time(store, clock):
    clock.now = 1.7e9
    store.write("s", "/data", columns([("u", "a", 1.0)]), [ItemRow("a")])
    events = [Event("u", "a", time) for time in (1.7e9 + 300, 1.7e9 + 301, 5.0, 4e9)]
    taken = store.take_feedback("s", events)
    assert (taken.added.accepted, list(taken.refused)) == (2, [1, 3])
    assert "is of 2023-11-14T22:18:21Z, and it is 2023-11-14T22:13:20Z here" in str(taken.refused[1])


def test_steps_are_refused_where_all_times_are_dates(store, clock):
    clock.now = LATER
    items = [ItemRow("a"), ItemRow("b")]
    store.write("dates", "/data", columns([("u", "a", 1.7e9)]), items)
    with pytest.raises(ConflictError, match=r"times of /steps.csv count steps \(up to 7\), and .* 'dates' are dates"):
        store.write("dates", "/steps.csv", columns([("u", "b", 0.0), ("u", "b", 7.0)]), items)
    with pytest.raises(DataError, match="event of user 'u' on item 'b' has the time 7, which is no date, as all times"):
        store.add_feedback("dates", [Event("u", "b", 1.8e9), Event("u", "b", 7.0)])
    assert store.dataset("dates").interactions == 1

    store.write("dates", "/of-1969", columns([("u", "b", -9e5)]), items)
    store.write("dates", "/mixed", columns([("v", "b", 7.0), ("v", "a", 1.7e9)]), items)
    store.add_feedback("dates", [Event("u", "b", 7.0)])  # not all times are dates any more

    store.write("steps", "/steps.csv", columns([("u", "a", 0.0), ("u", "b", 7.0)]), items)
    store.add_feedback("steps", [Event("v", "a", 1.8e9), Event("v", "b", 8.0)])
    assert store.write("steps", "/steps.csv", columns([("u", "a", 0.0), ("u", "b", 9.0)]), items).new_interactions == 1


def test_every_method_names_the_data_sets_there_are(films):
    calls = (
        films.dataset, films.snapshot, films.items, films.find_items, films.users, films.remove,
        lambda name: films.item(name, "1"), lambda name: films.put_item(name, FILMS[0]),
        lambda name: films.history(name, "u1"), lambda name: films.since(name, 0),
        lambda name: films.add_feedback(name, []), lambda name: films.delete_user(name, "u1"),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(UnknownDatasetError, match="there is no data set 'none'; there are: films"):
            call("none")


def test_a_history_is_in_the_order_of_time_and_ties_as_they_came(films):
    assert triples(films.history("films", "u1")) == [ROWS[1], ROWS[3], ROWS[0]]
    assert films.history("films", "stranger") == []


def test_a_snapshot_is_what_was_there_up_to_an_id(films):
    whole = films.snapshot("films")
    assert list(zip(whole.interactions.users, whole.interactions.items, strict=True)) == [row[:2] for row in ROWS]
    assert list(whole.interactions.timestamps) == [row[2] for row in ROWS]
    films.add_feedback("films", [Event("u1", "x y/ä", 0.5)])
    assert len(films.snapshot("films").interactions) == 6
    again = films.snapshot("films", until_id=whole.last_id)
    assert (again.last_id, len(again.interactions)) == (whole.last_id, 5)
    nothing = films.snapshot("films", until_id=0)
    assert (nothing.last_id, len(nothing.interactions)) == (0, 0)


def test_columns_hold_one_object_per_id(store):
    store.write("s", "/data", columns([(f"u{n % 3}", "1", float(n)) for n in range(BATCH + 10)]), [ItemRow("1")])
    snapshot = store.snapshot("s")
    assert len(snapshot.interactions) == BATCH + 10
    assert len(set(map(id, snapshot.interactions.users))) == 3


# --- items


def titles(page) -> list[str]:
    return [item.title for item in page.items]


def test_items_are_found_by_title_those_that_begin_with_it_first(films):
    assert titles(films.find_items("films", search="mat")) == ["Mat", "The Matrix"]
    assert titles(films.find_items("films", search="RIX")) == ["The Matrix"]
    assert titles(films.find_items("films", search="0%")) == ["Élan 100%"]
    assert titles(films.find_items("films", search="%")) == ["Élan 100%"]
    assert titles(films.find_items("films", search="_")) == []
    assert films.find_items("films").total == 4


def test_letters_beyond_ascii_are_found_in_any_case_on_sqlite(sqlite_engine):
    # On PostgreSQL it is the server's locale that knows them.
    store = CatalogueStore(sqlite_engine)
    store.write("films", "/data", columns(), FILMS)
    assert titles(store.find_items("films", search="éLAN")) == ["Élan 100%"]


def test_items_are_found_by_genre(films):
    assert films.find_items("films", category="Drama").total == 2
    for item_id, tags in {"t1": ("gift", "new"), "t2": ("gift",)}.items():
        films.put_item("films", ItemRow(item_id, tags=tags))
    found = [
        [row.item_id for row in films.find_items("films", tags=tags).items] for tags in (["gift"], ["new", "gift"])
    ]
    assert found == [["t1", "t2"], ["t1"]]
    assert films.find_items("films", tags=["gif"]).total == 0
    assert titles(films.find_items("films", category="Drama", search="mat")) == ["Mat"]
    assert titles(films.find_items("films", category='a "quoted" one, here')) == ["Élan 100%"]
    for no_genre in ("", "Dram", ", ", 'Drama", "', "drama"):
        assert films.find_items("films", category=no_genre).total == 0


def test_pages_of_items_are_disjoint_and_whole(store):
    many = [ItemRow(str(number), f"Film {number % 5}") for number in range(53)]
    store.write("films", "/data", columns([("u", "1", 1.0)]), many)
    pages = [store.find_items("films", search="film", offset=offset, limit=10) for offset in range(0, 60, 10)]
    assert {page.total for page in pages} == {53}
    found = [item.item_id for page in pages for item in page.items]
    assert sorted(found) == sorted(item.item_id for item in many)
    assert [len(page.items) for page in pages] == [10, 10, 10, 10, 10, 3]


def test_an_item_is_put_and_put_again(films, clock):
    clock.now = 3000.0
    new = ItemRow("new", "Brand new", ("Drama",), 2024, None, "Brand new (2024). Drama")
    assert films.put_item("films", new)
    assert films.item("films", "new") == new
    assert films.item("films", "new").changed_at == 3000.0
    clock.now = 4000.0
    assert not films.put_item("films", new)
    assert films.item("films", "new").changed_at == 3000.0
    assert not films.put_item("films", ItemRow("new", "Renamed"))
    assert films.item("films", "new") == ItemRow("new", "Renamed")
    assert films.item("films", "new").changed_at == 4000.0
    with pytest.raises(UnknownItemError, match="the data set 'films' has no item 'nil'"):
        films.item("films", "nil")


def test_what_has_changed_since_a_version_is_every_change_and_nothing_else(films, clock):
    version, everything = films.items_since("films")
    assert everything == films.items("films")
    assert films.items_since("films", version) == (version, [])
    clock.now -= 5.0  # of a process whose clock is slow
    films.put_item("films", ItemRow("new", "Brand new"))
    films.put_item("films", ItemRow("new", "Brand new"))
    second, changed = films.items_since("films", version)
    assert (second > version, changed) == (True, [ItemRow("new", "Brand new")])
    films.write("films", "/data", columns(), [*FILMS[1:], replace(FILMS[0], title="Matrix")])
    third, changed = films.items_since("films", second)
    assert (third > second, changed) == (True, [replace(FILMS[0], title="Matrix")])
    assert films.items_since("films", third) == (third, [])


# --- users


def test_users_are_paged_counted_and_searched(store):
    lengths = {f"user {number}": 1 + number % 4 for number in range(37)} | {"a%b": 2, "ü": 1}
    rows = [(user, "1", float(time)) for user, length in lengths.items() for time in range(length)]
    random.Random(7).shuffle(rows)
    store.write("s", "/data", columns(rows), [ItemRow("1")])
    found: list[UserRow] = []
    while page := store.users("s", after=found[-1].user_id if found else None, limit=10):
        found.extend(page)
    assert {user.user_id: user.interactions for user in found} == lengths
    assert len(found) == len(lengths) == store.dataset("s").users
    assert [user.user_id for user in store.users("s", search="%")] == ["a%b"]
    assert {user.user_id for user in store.users("s", search="r 3")} == {"user 3", *(f"user 3{n}" for n in range(7))}
    assert store.users("s", search="stranger") == []


def test_deleting_a_user_says_how_many_rows_went_and_what_was_the_newest(films):
    newest = films.since("films", 0)[-1].id
    assert films.delete_user("films", "u1") == DeletionResult(3, newest)
    assert films.history("films", "u1") == []
    assert films.delete_user("films", "u1").interactions == 0
    assert {user.user_id for user in films.users("films")} == {"u2", "ü 3"}


# --- feedback


def test_feedback_that_comes_again_is_harmless(films):
    events = [Event("u1", "1", 10.0), Event("new", "2", 11.0), Event("u1", "1", 10.0)]
    assert films.add_feedback("films", events) == AppendResult(2, 1)
    assert films.add_feedback("films", events) == AppendResult(0, 3)
    assert films.add_feedback("films", [Event("u1", "1", 3.0)]) == AppendResult(0, 1)  # imported before
    assert films.add_feedback("films", []) == AppendResult(0, 0)
    assert triples(films.history("films", "u1"))[-1] == ("u1", "1", 10.0)
    assert triples(films.history("films", "new")) == [("new", "2", 11.0)]


def test_feedback_on_an_unknown_item_is_refused_whole(films):
    before = films.since("films", 0)
    with pytest.raises(UnknownItemError, match="has no item 'nil', 'none'; nothing was stored"):
        films.add_feedback("films", [Event("u1", "1", 10.0), Event("u1", "none", 11.0), Event("u1", "nil", 12.0)])
    with pytest.raises(UnknownItemError, match="and 2 more"):
        films.add_feedback("films", [Event("u1", f"none {number}", 1.0) for number in range(7)])
    assert films.since("films", 0) == before


@pytest.mark.parametrize("wrong", [Event("u", "1", float("nan")), Event("u", "1", float("inf")), Event("", "1", 1.0),
                                   Event("a\0b", "1", 1.0)])  # fmt: skip
def test_feedback_that_cannot_be_stored_is_refused_whole(films, wrong):
    before = films.since("films", 0)
    with pytest.raises(DataError, match=r"has the time|cannot name a user"):
        films.add_feedback("films", [Event("u1", "1", 10.0), wrong])
    assert films.since("films", 0) == before


def test_a_poller_gets_what_is_new_piece_by_piece(films):
    first = films.since("films", 0, limit=3)
    assert triples(first) == list(ROWS[:3])
    rest = films.since("films", first[-1].id)
    assert triples(rest) == list(ROWS[3:])
    last = rest[-1].id
    assert films.since("films", last) == []
    films.add_feedback("films", [Event("u1", "1", 10.0)])
    new = films.since("films", last)
    assert triples(new) == [("u1", "1", 10.0)]
    films.delete_user("films", "u1")
    films.add_feedback("films", [Event("u2", "2", 11.0)])
    (newest,) = films.since("films", new[-1].id)
    assert newest.id > new[-1].id  # an id is never used again


def test_no_row_appears_below_one_that_was_seen(films, monkeypatch):
    """A poller who saw feedback of while an import was under way has missed nothing of the import."""
    seen: list[InteractionRow] = []

    def meanwhile(seconds: float) -> None:
        films.add_feedback("films", [Event("u1", "1", 99.0)])
        seen[:] = films.since("films", 0)

    monkeypatch.setattr(turns, "HOLD", 0.0)
    monkeypatch.setattr(turns, "sleep", meanwhile)
    rows = columns([("n", "1", float(number)) for number in range(3 * PIECE)])
    films.write("films", "/data", rows, [])
    assert triples(seen) == [*ROWS, ("u1", "1", 99.0)]
    assert triples(films.since("films", seen[-1].id)) == [("n", "1", float(number)) for number in range(3 * PIECE)]


EVENTS = st.builds(
    Event,
    st.sampled_from(["a", "ä", "a b", "%", "10", "9"]),
    st.sampled_from(["1", "2"]),
    st.floats(0, 4e9) | st.sampled_from([0.0, 1.5, 1e9]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.lists(EVENTS, max_size=8), max_size=5))
def test_batches_of_feedback_against_a_model(store, clock, batches):
    clock.now = LATER
    if any(row.name == "s" for row in store.datasets()):
        store.remove("s")
    store.write("s", "/data", columns([("a", "1", 0.0)]), [ItemRow("1"), ItemRow("2")])
    model: dict[Event, None] = {Event("a", "1", 0.0): None}
    for batch in batches:
        new = set(batch) - model.keys()
        assert store.add_feedback("s", batch) == AppendResult(len(new), len(batch) - len(new))
        model.update(dict.fromkeys(batch))
    assert triples(store.since("s", 0)) == triples(model)
    for user in {one.user_id for one in model}:
        history = sorted((one for one in model if one.user_id == user), key=lambda one: one.timestamp)
        assert triples(store.history("s", user)) == triples(history)
    assert store.dataset("s").users == len({one.user_id for one in model})


# --- removal, and the way through the indexes


def test_a_data_set_is_removed_with_all_that_is_in_it(films):
    films.remove("films")
    assert films.datasets() == []
    assert films.write("films", "/data", columns(), FILMS) == imported(interactions=(5, 0), items=(4, 0, 0))


def test_the_disk_of_a_data_set_that_is_removed_is_given_back(sqlite_engine):
    def pages() -> int:
        with sqlite_engine.connect() as connection:
            return connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    store, empty = CatalogueStore(sqlite_engine), pages()
    many = InteractionColumns([f"user {n}" for n in range(5000)], ["1"] * 5000, [float(n) for n in range(5000)])
    store.write("films", "/data", many, [ItemRow("1", "One")])
    full = pages()
    assert full > 2 * empty
    store.remove("films")
    assert pages() == full
    assert store.forget_deleted()
    assert pages() < 1.5 * empty


def test_a_data_set_that_a_job_refers_to_stays(films, engine):
    queue(JobStore(engine), dataset="films")
    with pytest.raises(ConflictError, match="'films' cannot be removed: job 1 trained or will train on it"):
        films.remove("films")
    queue(JobStore(engine), dataset="films")
    with pytest.raises(ConflictError, match=r"2 jobs \(1, 2\)"):
        films.remove("films")
    assert films.dataset("films").interactions == 5


@pytest.fixture
def statements(sqlite_engine: Engine) -> Iterator[list[tuple[str, tuple[object, ...]]]]:
    """What is asked of SQLite, with its parameters."""
    asked: list[tuple[str, tuple[object, ...]]] = []

    def note(connection, cursor, statement, parameters, context, executemany):
        asked.append((statement, parameters))

    event.listen(sqlite_engine, "before_cursor_execute", note)
    yield asked
    event.remove(sqlite_engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.since("films", 2),
        lambda store: store.history("films", "u1"),
        lambda store: store.users("films"),
        lambda store: store.item("films", "1"),
        lambda store: store.add_feedback("films", [Event("u1", "1", 10.0)]),
        lambda store: store.delete_user("films", "u1"),
    ],
    ids=["since", "history", "users", "item", "add_feedback", "delete_user"],
)
def test_what_is_asked_often_scans_no_table(sqlite_engine, statements, ask):
    store = CatalogueStore(sqlite_engine)
    store.write("films", "/data", columns(), FILMS)
    statements.clear()
    ask(store)
    asked = [each for each in statements if each[0].startswith(("SELECT", "WITH", "INSERT", "DELETE"))]
    with sqlite_engine.connect() as connection:
        for statement, parameters in asked:
            first = parameters[0] if isinstance(parameters, list) else parameters
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", first).all()
            assert not [row for row in plan if "SCAN interactions" in row[3] or "SCAN items" in row[3]], statement
    assert asked


def test_the_longest_ids_fit_into_every_index(engine):
    """Such as no compression makes shorter."""
    drawn = random.Random(0)
    user, item = ("".join(chr(drawn.randrange(0x20000, 0x2A000)) for _ in range(256)) for _ in range(2))
    assert (read_id(user), read_id(item)) == (user, item)
    store = CatalogueStore(engine)
    store.write("long", "the test", InteractionColumns([user], [item], [1e9]), [ItemRow(item, "A film")])
    assert store.add_feedback("long", [Event(user, item, 1.1e9)]).accepted == 1
    store.delete_user("long", user)
