"""What training gets from the database is what it would have read from the files, to the digest."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from fedmem.data.demo import write_demo
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset as load_files
from fedmem.data.formats import read_dataset
from fedmem.data.interactions import Interactions, Item
from fedmem.errors import DataError, UnknownDatasetError
from fedmem.importing.writing import import_dataset
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event, ItemRow
from trainer.dataset import load_dataset

# A user who can be trained on, in every data set.
TRAINABLE = [("u", "a", 0), ("u", "b", 1), ("u", "c", 2), ("u", "d", 3)]


@pytest.fixture
def store(engine: Engine) -> CatalogueStore:
    return CatalogueStore(engine)


def into(store: CatalogueStore, name: str, path: Path, interactions: Interactions, items: list[Item]):
    return import_dataset(store, name, str(path.resolve()), interactions, items, lambda stage, done, total: None)


def assert_equal(stored: FederatedDataset, read: FederatedDataset) -> None:
    assert stored.digest == read.digest
    assert stored.vocabulary == read.vocabulary
    assert stored.items == read.items
    np.testing.assert_array_equal(stored.offsets, read.offsets)
    np.testing.assert_array_equal(stored.sequence, read.sequence)
    assert (stored.name, stored.min_sequence_length) == (read.name, read.min_sequence_length)


def test_the_demo_is_the_same_from_files_and_from_the_database(store, tmp_path):
    folder = write_demo(tmp_path / "demo", num_users=12, num_items=40)
    into(store, "demo", folder, *read_dataset(folder))
    read = load_files(folder)
    stored, last = load_dataset(store, "demo", min_sequence_length=5)
    assert_equal(stored, read)
    assert all(item.image_path.is_absolute() for item in stored.items)
    assert last == store.since("demo", 0, limit=len(read.sequence) + 1)[-1].id


@pytest.mark.parametrize("name", ["ml-100k", "ml-latest-small"])
def test_movielens_is_the_same_from_files_and_from_the_database(store, shared_data, name):
    options = {"images": shared_data / "posters"}
    into(store, name, shared_data / name, *read_dataset(shared_data / name, **options))
    read = load_files(shared_data / name, **options)
    stored, _ = load_dataset(store, name, min_sequence_length=5)
    assert_equal(stored, read)


IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4)
TIMES = st.integers(0, 3) | st.integers(-(10**6), 2 * 10**9)
ROW = st.tuples(st.sampled_from(["u", "7", "10", "Ü"]) | IDS, st.sampled_from(["a", "b", "0", "00"]) | IDS, TIMES)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(ROW, max_size=15), st.integers(0, 3), st.booleans())
@example([("u", "b", 2), ("u", "a", 2), ("u", "b", 2)], 1, False)
def test_whatever_is_imported_comes_back(store, rows, repeated, fractions):
    rows = [*TRAINABLE, *rows, *rows[:repeated]]
    users, ids, times = (np.array([*column, None], dtype=object)[:-1] for column in zip(*rows, strict=True))
    timestamps = times.astype(np.float64) / 8 if fractions else times.astype(np.int64)
    interactions = Interactions(users, ids, timestamps)
    said = frozenset(("title", "genres", "year", "text"))
    items = [
        Item(raw, f"Title of {raw}", (f"genre {raw}", "Drama"), 1990, None, raw, described=said) for raw in set(ids)
    ]
    if any(row.name == "s" for row in store.datasets()):
        store.remove("s")
    read = FederatedDataset.from_interactions(interactions, items, min_sequence_length=3, name="s")
    first = into(store, "s", Path("s"), interactions, items)
    assert first.new_interactions == len(read.sequence)
    again = into(store, "s", Path("s"), interactions, items)
    assert (again.new_interactions, again.new_items, again.changed_items) == (0, 0, 0)
    stored, _ = load_dataset(store, "s", min_sequence_length=3)
    assert_equal(stored, read)


def a_few(store: CatalogueStore) -> None:
    users, ids, times = (np.array(column, dtype=object) for column in zip(*TRAINABLE, strict=True))
    into(store, "s", Path("s"), Interactions(users, ids, times.astype(np.int64)), [Item(raw) for raw in ids])


def test_feedback_waits_for_the_next_snapshot(store):
    a_few(store)
    before, last = load_dataset(store, "s", min_sequence_length=3)
    store.put_item("s", ItemRow("new"))
    store.add_feedback("s", [Event("u", "new", 1.7e9), Event("v", "a", 1.5)])
    again, same = load_dataset(store, "s", min_sequence_length=3, until_id=last)
    assert_equal(again, before)
    assert same == last
    after, newest = load_dataset(store, "s", min_sequence_length=3)
    assert newest > last
    assert after.vocabulary.items == ("a", "b", "c", "d", "new")
    assert after.lengths.tolist() == [5, 1]


def test_no_user_to_train_on_is_an_error_that_says_why(store):
    a_few(store)
    with pytest.raises(
        DataError,
        match=r"'s': no user has data.min_sequence_length = 5 interactions .the longest of 1 histories has 4.*=4",
    ):
        load_dataset(store, "s", min_sequence_length=5)
    with pytest.raises(DataError, match="the longest of 0 histories has 0"):
        load_dataset(store, "s", min_sequence_length=5, until_id=0)
    with pytest.raises(UnknownDatasetError, match="there are: s"):
        load_dataset(store, "t", min_sequence_length=5)


def test_pictures_that_are_gone_are_left_out(store, tmp_path, caplog):
    a_few(store)
    (tmp_path / "a.jpg").touch()
    for name in "ab":
        store.put_item("s", ItemRow(name, name, image_path=str(tmp_path / f"{name}.jpg")))
    with caplog.at_level(logging.WARNING):
        dataset, _ = load_dataset(store, "s", min_sequence_length=3)
    assert [item.image_path for item in dataset.items] == [tmp_path / "a.jpg", None, None, None]
    assert "1 of the catalogue's pictures are not where they were" in caplog.text
