"""A table imported whole, twice, or in parts that come in any order is the same data set, on either database."""

import random
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from fedmem.data.formats.titles import item_text
from fedmem.data.interactions import Interactions, Item
from fedmem.importing.writing import import_dataset
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from trainer.dataset import load_dataset

# A user who can be trained on, in every data set: there is an item that only another has taken.
TRAINABLE = [("u", "a", 0), ("u", "b", 1), ("u", "c", 2), ("x", "z", 0)]
COLUMNS = ("title", "genres", "year", "text")
ITEMS = ("a", "b", "c", "ä", "never taken", "10", "9")

Row = tuple[str, str, int]
Cell = tuple[str, str]  # item and column


@pytest.fixture
def store(engine: Engine) -> CatalogueStore:
    return CatalogueStore(engine)


def interactions_of(rows: Sequence[Row]) -> Interactions:
    users, items, times = (np.array([*column, None], dtype=object)[:-1] for column in zip(*rows, strict=True))
    return Interactions(users, items, times.astype(np.int64))


def items_of(values: dict[Cell, object], cells: Iterable[Cell]) -> list[Item]:
    """Items as a reader gives them of a file that holds these cells alone."""
    said: dict[str, dict[str, object]] = {}
    for item, column in cells:
        said.setdefault(item, {})[column] = values[item, column]
    return [_item(raw, one) for raw, one in said.items()]


def _item(raw: str, one: dict[str, object]) -> Item:
    title, genres, year, description = one.get("title", ""), one.get("genres", ()), one.get("year"), one.get("text", "")
    text = item_text(title, year, genres, description)
    return Item(raw, title, genres, year, None, text, description, frozenset(one))


VALUES = {
    "title": st.sampled_from(["", "Heat", "Heat. And dust", "Ü"]),
    "genres": st.sampled_from([(), ("Drama",), ("Drama", "Film-Noir")]),
    "year": st.none() | st.integers(1900, 2030),
    "text": st.sampled_from(["", "A thief.", "Drama. And more"]),
}
# A user's rows at the very same time would stay in the order in which they came.
ROWS = st.lists(
    st.tuples(st.sampled_from(["u", "v", "Ü"]), st.sampled_from(ITEMS[:-3] + ITEMS[-2:]), st.integers(3, 30)),
    unique_by=lambda row: (row[0], row[2]),
    max_size=8,
)


def state(store: CatalogueStore, name: str) -> tuple[str, list[ItemRow], set[tuple[str, str, float]]]:
    dataset, _ = load_dataset(store, name, min_sequence_length=3)
    rows = {(row.user_id, row.item_id, row.timestamp) for row in store.since(name, 0)}
    return dataset.digest, store.items(name), rows


def into(store: CatalogueStore, name: str, rows: Sequence[Row], items: list[Item]) -> None:
    import_dataset(store, name, name, interactions_of(rows), items, lambda stage, done, total: None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(ROWS, st.fixed_dictionaries({column: st.lists(kind, min_size=7, max_size=7) for column, kind in VALUES.items()}),
       st.integers(1, 3), st.randoms(use_true_random=False))  # fmt: skip
def test_whole_twice_and_in_parts_in_any_order(store, rows, drawn, parts, chance: random.Random):
    for name in ("whole", "parts"):
        if any(row.name == name for row in store.datasets()):
            store.remove(name)
    rows = [*TRAINABLE, *rows]
    values = {(item, column): drawn[column][n] for n, item in enumerate(ITEMS) for column in COLUMNS}
    into(store, "whole", rows, items_of(values, values))
    once = state(store, "whole")
    into(store, "whole", rows, items_of(values, values))
    assert state(store, "whole") == once

    of_row = [chance.randrange(parts) for _ in rows]
    of_cell = {cell: chance.randrange(parts) for cell in values}
    order = chance.sample(range(parts), parts)
    for part in (*order, chance.choice(order)):  # one of them comes twice
        some = [row for row, its in zip(rows, of_row, strict=True) if its == part] or rows[:1]
        into(store, "parts", some, items_of(values, [cell for cell, its in of_cell.items() if its == part]))
    assert state(store, "parts") == once
