"""Items: what an import says of them, what it leaves alone, and what was put by hand."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ImportResult, InteractionColumns, ItemRow
from tests.clock import Clock

FILMS = (
    ItemRow("a", "Film A", ("Drama",), 1999, "/covers/a.jpg", "Film A (1999). Drama"),
    ItemRow("b", "Film B"),
    ItemRow("never taken", "Film C", ("Western",), None, None, "Film C. Western. A duel at noon."),
)


@pytest.fixture
def store(engine: Engine, clock: Clock) -> CatalogueStore:
    store = CatalogueStore(engine, clock)
    write(store, FILMS)
    return store


def write(store: CatalogueStore, items: Sequence[ItemRow], taken: str = "ab", **options: object) -> ImportResult:
    rows = InteractionColumns(["u"] * len(taken), list(taken), [float(ord(item)) for item in taken])
    return store.write("films", "/data", rows, items, **options)


def test_items_that_an_import_does_not_describe_keep_what_is_known(store):
    done = write(store, [], taken="abn")
    assert (done.new_items, done.changed_items, done.kept_items) == (1, 0, 2)
    assert store.items("films") == [FILMS[0], FILMS[1], ItemRow("n"), FILMS[2]]


def test_what_an_item_becomes_is_the_importers_decision(store):
    said = [replace(FILMS[0], title="Renamed", genres=())]
    done = write(store, said, merge=lambda stored, said: replace(stored, title=said.title))
    assert (done.new_items, done.changed_items, done.kept_items) == (0, 1, 1)
    assert store.item("films", "a") == replace(FILMS[0], title="Renamed")


def test_items_that_were_put_by_hand_stay_as_they_are(store, clock):
    clock.now = 2000.0
    edited = ItemRow("a", "By hand", ("Comedy",), 2001, FILMS[0].image_path, "By hand (2001). Comedy")
    store.put_item("films", edited)
    assert store.item("films", "a").edited_at == 2000.0
    done = write(store, [replace(FILMS[0], image_path="/covers/new.jpg"), FILMS[1]])
    assert (done.changed_items, done.kept_items, done.edits_kept) == (1, 1, 1)
    assert store.item("films", "a") == replace(edited, image_path="/covers/new.jpg"), "a picture is not put by hand"
    again = write(store, [replace(FILMS[0], image_path="/covers/new.jpg"), FILMS[1]])
    assert (again.changed_items, again.kept_items, again.edits_kept) == (0, 2, 1)
    assert write(store, [store.item("films", "a")]).edits_kept == 0


def test_an_import_may_be_told_to_overwrite_edits(store):
    store.put_item("films", ItemRow("a", "By hand"))
    store.put_item("films", FILMS[1])
    done = write(store, FILMS, overwrite_edits=True)
    assert (done.changed_items, done.kept_items, done.edits_kept) == (1, 2, 0)
    assert store.items("films") == list(FILMS)
    assert [item.edited_at for item in store.items("films")] == [None] * 3
    assert write(store, [replace(FILMS[1], title="From the file")]).changed_items == 1


def test_an_item_that_is_put_as_it_was_is_an_edit_too(store, clock):
    clock.now = 2000.0
    store.put_item("films", FILMS[1])
    assert (store.item("films", "b").changed_at, store.item("films", "b").edited_at) == (1000.0, 2000.0)
    assert write(store, [replace(FILMS[1], title="From the file")]).edits_kept == 1


def test_a_setting_of_the_data_set_is_kept_until_an_import_says_otherwise(store):
    assert store.dataset("films").repeats is None
    write(store, FILMS, repeats="offer")
    write(store, FILMS)
    assert store.dataset("films").repeats == "offer"
    write(store, FILMS, repeats="hide")
    assert store.datasets()[0].repeats == "hide"
