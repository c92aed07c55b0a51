"""Items: written where they are new or changed, found by id, by title and by genre."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, bindparam, case, exists, func, insert, literal, select, update

from fedmem.errors import DataError
from fedmem.storage.catalogue_rows import ItemPage, ItemRow
from fedmem.storage.interactions import BATCH
from fedmem.storage.schema import items

_DESCRIPTION = (items.c.title, items.c.genres, items.c.year, items.c.image_path, items.c.text)
_ROW = (items.c.item_id, *_DESCRIPTION, items.c.changed_at)

T = TypeVar("T")


def merge_items(connection: Connection, dataset_id: int, rows: Iterable[ItemRow], now: float) -> tuple[int, int]:
    """Insert new items, update those described otherwise, and return how many of each; the data set must be locked.

    Raises:
        DataError: if an item cannot be stored.
    """
    new = changed = 0
    for batch in _batches({row.item_id: row for row in rows}.values()):
        for row in batch:
            _refuse_nul(row)
        stored = items_by_id(connection, dataset_id, [row.item_id for row in batch])
        unknown = [row for row in batch if row.item_id not in stored]
        different = [row for row in batch if row.item_id in stored and stored[row.item_id] != row]
        _insert(connection, dataset_id, unknown, now)
        _update(connection, dataset_id, different, now)
        new, changed = new + len(unknown), changed + len(different)
    return new, changed


def all_items(connection: Connection, dataset_id: int) -> list[ItemRow]:
    """Every item, by id."""
    statement = select(*_ROW).where(items.c.dataset_id == dataset_id).order_by(items.c.item_id)
    return [_item(row) for row in connection.execute(statement, execution_options={"yield_per": BATCH})]


def items_state(connection: Connection, dataset_id: int) -> tuple[float, ...]:
    """What differs once an item has been inserted or changed, whatever the clocks of those who do it."""
    changed = items.c.changed_at
    figures = select(func.count(), func.coalesce(func.max(changed), 0.0), func.coalesce(func.sum(changed), 0.0))
    return tuple(connection.execute(figures.where(items.c.dataset_id == dataset_id)).one())


def items_by_id(connection: Connection, dataset_id: int, item_ids: Sequence[str]) -> dict[str, ItemRow]:
    """Those of at most ``BATCH`` items that there are."""
    statement = select(*_ROW).where(items.c.dataset_id == dataset_id, items.c.item_id.in_(item_ids))
    return {row.item_id: _item(row) for row in connection.execute(statement)}


def missing_items(connection: Connection, dataset_id: int, item_ids: Iterable[str]) -> list[str]:
    """Those item ids that there are not, sorted."""
    missing: set[str] = set()
    for batch in _batches(sorted(set(item_ids))):
        statement = select(items.c.item_id).where(items.c.dataset_id == dataset_id, items.c.item_id.in_(batch))
        missing.update(set(batch).difference(connection.scalars(statement)))
    return sorted(missing)


def find_items(
    connection: Connection, dataset_id: int, search: str, category: str | None, offset: int, limit: int
) -> ItemPage:
    """Items whose title contains ``search``, those that begin with it first, and which are of a category."""
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
    """PostgreSQL stores no NUL, or worse, stores it in a genre and fails at each search for one."""
    if any("\0" in text for text in (row.item_id, row.title, *row.genres, row.image_path or "", row.text)):
        raise DataError(f"the item {row.item_id!r} holds the character U+0000, which is not text")


def _insert(connection: Connection, dataset_id: int, rows: Sequence[ItemRow], now: float) -> None:
    if rows:
        parameters = [{"dataset_id": dataset_id, "item_id": row.item_id, **_described(row, now)} for row in rows]
        connection.execute(insert(items), parameters)


def _update(connection: Connection, dataset_id: int, rows: Sequence[ItemRow], now: float) -> None:
    if rows:
        wanted = update(items).where(items.c.dataset_id == dataset_id, items.c.item_id == bindparam("wanted"))
        connection.execute(wanted, [{"wanted": row.item_id, **_described(row, now)} for row in rows])


def _described(row: ItemRow, now: float) -> dict[str, Any]:
    return {
        "title": row.title,
        "genres": list(row.genres),
        "year": row.year,
        "image_path": row.image_path,
        "text": row.text,
        "changed_at": now,
    }


def _item(row: Row[*tuple[Any, ...]]) -> ItemRow:
    return ItemRow(row.item_id, row.title, tuple(row.genres), row.year, row.image_path, row.text, row.changed_at)


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(rows)
    while batch := list(itertools.islice(rest, BATCH)):
        yield batch
