"""Items: written where they are new or changed, found by id, by title and by genre."""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Row,
    Update,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)

from fedmem.errors import DataError
from fedmem.storage.catalogue_rows import DESCRIPTION, ItemCounts, ItemPage, ItemRow
from fedmem.storage.interactions import BATCH
from fedmem.storage.schema import datasets, items

_DESCRIPTION = (items.c.title, items.c.genres, items.c.year, items.c.image_path, items.c.text)
_ROW = (items.c.item_id, *_DESCRIPTION, items.c.changed_at, items.c.edited_at)

T = TypeVar("T")
Merge = Callable[[ItemRow, ItemRow], ItemRow]  # (stored item, new description) -> what it becomes


def merge_items(
    connection: Connection,
    dataset_id: int,
    described: Mapping[str, ItemRow],
    mentioned: Iterable[str],
    now: float,
    *,
    merge: Merge,
    overwrite_edits: bool = False,
) -> ItemCounts:
    """Insert new items and update those that become others; the data set must be locked.

    Args:
        connection: a transaction.
        dataset_id: of the data set.
        described: items of which something is said, by id.
        mentioned: ids of which nothing is said: they are to be there.
        now: the time of the change.
        merge: what a stored item and what is said of it make.
        overwrite_edits: whether what was put by hand gives way.

    Raises:
        DataError: if an item cannot be stored.
    """
    change = _Change(connection, dataset_id, now)
    counts = Counter[str]()
    for batch in _batches(described.values()):
        stored = items_by_id(connection, dataset_id, [row.item_id for row in batch])
        change.insert([row for row in batch if row.item_id not in stored])
        counts["new"] += len(batch) - len(stored)
        pairs = [(stored[row.item_id], row) for row in batch if row.item_id in stored]
        counts.update(change.settle(pairs, merge, overwrite_edits))
    bare = set(mentioned).difference(described)
    missing = missing_items(connection, dataset_id, bare)
    change.insert([ItemRow(item_id) for item_id in missing])
    counts.update({"new": len(missing), "kept": len(bare) - len(missing)})
    change.end()
    return ItemCounts(**counts)


def put_item(connection: Connection, dataset_id: int, item: ItemRow, now: float) -> bool:
    """Store an item as it is described by hand, which imports respect; whether it is new.

    Raises:
        DataError: if it cannot be stored.
    """
    row = replace(item, edited_at=now)
    stored = items_by_id(connection, dataset_id, [row.item_id]).get(row.item_id)
    change = _Change(connection, dataset_id, now)
    if stored is None:
        change.insert([row])
    elif stored != row:
        change.update([row])
    else:
        of_item = (items.c.dataset_id == dataset_id, items.c.item_id == row.item_id)
        connection.execute(update(items).where(*of_item).values(edited_at=now))
    change.end()
    return stored is None


def _settled(stored: ItemRow, merged: ItemRow, overwrite_edits: bool) -> ItemRow:
    """Decide what a stored item becomes; an edit by hand keeps all but the imported picture."""
    if stored.edited_at is None or overwrite_edits:
        return replace(merged, edited_at=None)
    return replace(stored, image_path=merged.image_path)


class _Change:
    """Items written together: they get the data set's next version, so that readers find what is new to them."""

    def __init__(self, connection: Connection, dataset_id: int, now: float) -> None:
        self._connection, self._dataset_id, self._now = connection, dataset_id, now
        self._version = items_version(connection, dataset_id) + 1
        self._written = False

    def insert(self, rows: Collection[ItemRow]) -> None:
        if rows:
            parameters = [{"item_id": row.item_id, **self._described(row)} for row in rows]
            self._write(insert(items).values(dataset_id=self._dataset_id), parameters)

    def update(self, rows: Collection[ItemRow]) -> None:
        if rows:
            wanted = update(items).where(items.c.dataset_id == self._dataset_id, items.c.item_id == bindparam("wanted"))
            self._write(wanted, [{"wanted": row.item_id, **self._described(row)} for row in rows])

    def settle(self, pairs: Iterable[tuple[ItemRow, ItemRow]], merge: Merge, overwrite_edits: bool) -> Counter[str]:
        """Update the stored items that become others by what is said of them, and count what became of them."""
        counts, different = Counter[str](), list[ItemRow]()
        for stored, said in pairs:
            merged = merge(stored, said)
            row = _settled(stored, merged, overwrite_edits)
            counts["kept" if row == stored else "changed"] += 1
            counts["edits_kept"] += row != merged
            if (row, row.edited_at) != (stored, stored.edited_at):
                different.append(row)
        self.update(different)
        return counts

    def end(self) -> None:
        if self._written:
            of_dataset = update(datasets).where(datasets.c.id == self._dataset_id)
            self._connection.execute(of_dataset.values(items_version=self._version))

    def _write(self, statement: Insert | Update, parameters: list[dict[str, Any]]) -> None:
        self._connection.execute(statement, parameters)
        self._written = True

    def _described(self, row: ItemRow) -> dict[str, Any]:
        _refuse_nul(row)
        return {
            "title": row.title,
            "genres": list(row.genres),
            "year": row.year,
            "image_path": row.image_path,
            "text": row.text,
            "changed_at": self._now,
            "version": self._version,
            "edited_at": row.edited_at,
        }


def all_items(connection: Connection, dataset_id: int) -> list[ItemRow]:
    """List the items by id."""
    statement = select(*_ROW).where(items.c.dataset_id == dataset_id).order_by(items.c.item_id)
    return [_item(row) for row in connection.execute(statement, execution_options={"yield_per": BATCH})]


def items_version(connection: Connection, dataset_id: int) -> int:
    """Count how often the items have changed."""
    version: int = connection.execute(select(datasets.c.items_version).where(datasets.c.id == dataset_id)).scalar_one()
    return version


def items_since(connection: Connection, dataset_id: int, version: int) -> list[ItemRow]:
    """List the items that have changed since a version, by id; all of them for -1."""
    wanted = (items.c.dataset_id == dataset_id, items.c.version > version)
    return [_item(row) for row in connection.execute(select(*_ROW).where(*wanted).order_by(items.c.item_id))]


def items_by_id(connection: Connection, dataset_id: int, item_ids: Iterable[str]) -> dict[str, ItemRow]:
    """Return those of the items that exist."""
    found: dict[str, ItemRow] = {}
    for batch in _batches(item_ids):
        statement = select(*_ROW).where(items.c.dataset_id == dataset_id, items.c.item_id.in_(batch))
        found.update((row.item_id, _item(row)) for row in connection.execute(statement))
    return found


def missing_items(connection: Connection, dataset_id: int, item_ids: Iterable[str]) -> list[str]:
    """List the item ids that do not exist, sorted."""
    missing: set[str] = set()
    for batch in _batches(sorted(set(item_ids))):
        statement = select(items.c.item_id).where(items.c.dataset_id == dataset_id, items.c.item_id.in_(batch))
        missing.update(set(batch).difference(connection.scalars(statement)))
    return sorted(missing)


def find_items(
    connection: Connection, dataset_id: int, search: str, category: str | None, offset: int, limit: int
) -> ItemPage:
    """Find items of a category whose title contains ``search``, those that begin with it first."""
    wanted = [items.c.dataset_id == dataset_id]
    order: list[ColumnElement[Any]] = [items.c.title, items.c.item_id]
    if search:
        wanted.append(items.c.title.icontains(search, autoescape=True))
        order.insert(0, case((items.c.title.istartswith(search, autoescape=True), 0), else_=1))
    if category is not None:
        wanted.append(_has_genre(connection, category))
    total = connection.scalar(select(func.count()).select_from(items).where(*wanted))
    page = select(*_ROW).where(*wanted).order_by(*order).offset(offset).limit(limit)
    return ItemPage(tuple(_item(row) for row in connection.execute(page)), int(total or 0))


def _has_genre(connection: Connection, genre: str) -> ColumnElement[bool]:
    elements = func.json_array_elements_text if connection.dialect.name == "postgresql" else func.json_each
    element = elements(items.c.genres).table_valued("value")
    return exists(select(literal(1)).select_from(element).where(element.c.value == genre))


def _refuse_nul(row: ItemRow) -> None:
    """Refuse NUL: PostgreSQL does not store it or, worse, stores it in a genre and fails at each search for one."""
    if any("\0" in text for text in (row.item_id, row.title, *row.genres, row.image_path or "", row.text)):
        raise DataError(f"the item {row.item_id!r} holds the character U+0000, which is not text")


def _item(row: Row[*tuple[Any, ...]]) -> ItemRow:
    return ItemRow(row.item_id, row.title, tuple(row.genres), row.year, row.image_path, row.text, DESCRIPTION, *row[6:])


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(rows)
    while batch := list(itertools.islice(rest, BATCH)):
        yield batch
