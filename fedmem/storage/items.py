"""Items: written where they are new or changed, found by id, by title, by genre and by tag."""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    LargeBinary,
    Text,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    literal_column,
    select,
    type_coerce,
    update,
)

from fedmem.errors import DataError
from fedmem.storage.catalogue_rows import ItemCounts, ItemPage, ItemRow
from fedmem.storage.interactions import BATCH
from fedmem.storage.schema import datasets, items
from fedmem.storage.stored_items import read_items

_DESCRIPTION = (items.c.title, items.c.genres, items.c.year, items.c.image_path, items.c.text, items.c.tags)
_NO_TEXT = r"\\u(d[89a-fA-F]|D[89a-fA-F]|0000)"  # escapes of what PostgreSQL makes no text of
_ROW = (items.c.item_id, *_DESCRIPTION, items.c.changed_at, items.c.edited_at)

Merge = Callable[[ItemRow, ItemRow], ItemRow]  # (stored item, new description) -> what it becomes


@dataclass(frozen=True)
class Edition:
    """Where and when items are written, and the version that they get: readers find by it what is new to them."""

    dataset_id: int
    version: int
    now: float


def merge_items(
    connection: Connection, edition: Edition, said: Collection[ItemRow], merge: Merge, overwrite_edits: bool = False
) -> ItemCounts:
    """Insert new items, and those that become others as rows of a newer version; the data set must be locked.

    Args:
        connection: a transaction.
        edition: of the items.
        said: what is said of items.
        merge: what a stored item and what is said of it make.
        overwrite_edits: whether what was put by hand gives way.

    Raises:
        DataError: if an item cannot be stored.
    """
    known = items_by_id(connection, edition.dataset_id, [row.item_id for row in said])
    counts, written = Counter[str](), list[ItemRow]()
    for row in said:
        stored = known.get(row.item_id)
        if stored is None:
            counts["new"] += 1
            written.append(row)
            continue
        merged = merge(stored, row)
        settled = _settled(stored, merged, overwrite_edits)
        counts["kept" if settled == stored else "changed"] += 1
        counts["edits_kept"] += settled != merged
        if (settled, settled.edited_at) != (stored, stored.edited_at):
            written.append(settled)
    _insert(connection, edition, written)
    return ItemCounts(**counts)


def add_items(connection: Connection, edition: Edition, item_ids: Collection[str]) -> ItemCounts:
    """Insert those items that are not there yet, of which nothing but the id is known; the data set must be locked."""
    missing = missing_items(connection, edition.dataset_id, item_ids)
    _insert(connection, edition, [ItemRow(item_id) for item_id in missing])
    return ItemCounts(new=len(missing), kept=len(item_ids) - len(missing))


def put_item(connection: Connection, dataset_id: int, item: ItemRow, now: float) -> bool:
    """Store an item as it is described by hand, which imports respect; whether it is new.

    The data set must be locked. An import under way began earlier, so that what it says of the item gives way.

    Raises:
        DataError: if it cannot be stored.
    """
    row = replace(item, edited_at=now)
    stored = items_by_id(connection, dataset_id, [row.item_id]).get(row.item_id)
    version = items_version(connection, dataset_id)
    of_item = items.c.dataset_id == dataset_id, items.c.item_id == row.item_id
    connection.execute(delete(items).where(*of_item, items.c.version > version))
    if stored == row:
        connection.execute(update(items).where(*of_item).values(edited_at=now))
        return False
    connection.execute(delete(items).where(*of_item))
    _insert(connection, Edition(dataset_id, version + 1, now), [row])
    connection.execute(update(datasets).where(datasets.c.id == dataset_id).values(items_version=version + 1))
    return stored is None


def _settled(stored: ItemRow, merged: ItemRow, overwrite_edits: bool) -> ItemRow:
    """Decide what a stored item becomes; an edit by hand keeps all but the imported picture."""
    if stored.edited_at is None or overwrite_edits:
        return replace(merged, edited_at=None)
    return replace(stored, image_path=merged.image_path)


def _insert(connection: Connection, edition: Edition, rows: Collection[ItemRow]) -> None:
    if rows:
        connection.execute(insert(items), [_values(edition, row) for row in rows])


def _values(edition: Edition, row: ItemRow) -> dict[str, Any]:
    _refuse_nul(row)
    return {
        "dataset_id": edition.dataset_id,
        "item_id": row.item_id,
        "version": edition.version,
        "changed_at": edition.now,
        "title": row.title,
        "genres": list(row.genres),
        "year": row.year,
        "image_path": row.image_path,
        "text": row.text,
        "edited_at": row.edited_at,
        "tags": list(row.tags),
    }


def _seen(dataset_id: int) -> tuple[ColumnElement[bool], ...]:
    """Return what is true of the one row of each item that counts: the newest that may be seen."""
    newest = select(datasets.c.items_version).where(datasets.c.id == dataset_id).scalar_subquery()
    later = items.alias()
    same = later.c.dataset_id == dataset_id, later.c.item_id == items.c.item_id
    replaced = select(literal(1)).where(*same, later.c.version > items.c.version, later.c.version <= newest)
    return items.c.dataset_id == dataset_id, items.c.version <= newest, ~exists(replaced)


def count_items(connection: Connection, dataset_id: int) -> int:
    """Count the items."""
    return int(connection.scalar(select(func.count()).select_from(items).where(*_seen(dataset_id))) or 0)


def all_items(connection: Connection, dataset_id: int) -> list[ItemRow]:
    """List the items by id."""
    statement = select(*_ROW).where(*_seen(dataset_id)).order_by(items.c.item_id)
    return list(read_items(connection.execute(statement, execution_options={"yield_per": BATCH})))


def items_version(connection: Connection, dataset_id: int) -> int:
    """Return the version up to which items may be seen, which grows whenever one changes."""
    version: int = connection.execute(select(datasets.c.items_version).where(datasets.c.id == dataset_id)).scalar_one()
    return version


def items_since(connection: Connection, dataset_id: int, version: int) -> list[ItemRow]:
    """List the items that have changed since a version, by id; all of them for -1."""
    wanted = *_seen(dataset_id), items.c.version > version
    return list(read_items(connection.execute(select(*_ROW).where(*wanted).order_by(items.c.item_id))))


def items_by_id(connection: Connection, dataset_id: int, item_ids: Iterable[str]) -> dict[str, ItemRow]:
    """Return those of the items that exist."""
    found: dict[str, ItemRow] = {}
    for batch in _batches(item_ids):
        statement = select(*_ROW).where(*_seen(dataset_id), items.c.item_id.in_(batch))
        found.update((row.item_id, row) for row in read_items(connection.execute(statement)))
    return found


def missing_items(connection: Connection, dataset_id: int, item_ids: Iterable[str]) -> list[str]:
    """List the item ids that do not exist, sorted."""
    missing: set[str] = set()
    for batch in _batches(sorted(set(item_ids))):
        statement = select(items.c.item_id).where(*_seen(dataset_id), items.c.item_id.in_(batch))
        missing.update(set(batch).difference(connection.scalars(statement)))
    return sorted(missing)


def untitled_items(connection: Connection, dataset_id: int) -> set[str]:
    """Return the ids of the items without a title."""
    return set(connection.scalars(select(items.c.item_id).where(*_seen(dataset_id), items.c.title == "")))


def find_items(
    connection: Connection,
    dataset_id: int,
    search: str,
    category: str | None,
    tags: Collection[str],
    offset: int,
    limit: int,
    also: Collection[ColumnElement[bool]] = (),
) -> ItemPage:
    """Find items of a category and with all tags whose title contains ``search``, those that begin with it first."""
    wanted = [*_seen(dataset_id), *also]
    order: list[ColumnElement[Any]] = [items.c.title, items.c.item_id]
    if search:
        # On SQLite as bytes, of which one damaged title spoils no search (``engine``).
        sqlite = connection.dialect.name == "sqlite"
        title = type_coerce(cast(items.c.title, LargeBinary), Text) if sqlite else items.c.title
        wanted.append(title.icontains(search, autoescape=True))
        order.insert(0, case((title.istartswith(search, autoescape=True), 0), else_=1))
    if category is not None:
        wanted.append(_holds(connection, items.c.genres, category))
    wanted += [_holds(connection, items.c.tags, tag) for tag in tags]
    total = connection.scalar(select(func.count()).select_from(items).where(*wanted))
    page = select(*_ROW).where(*wanted).order_by(*order).offset(offset).limit(limit)
    return ItemPage(tuple(read_items(connection.execute(page))), int(total or 0))


def _holds(connection: Connection, names: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Say in SQL that a column's list of names holds one; what is no list holds none."""
    lists: ColumnElement[bool]
    if connection.dialect.name == "postgresql":
        lists = (func.json_typeof(names) == "array") & ~cast(names, Text).regexp_match(_NO_TEXT)
        elements = func.json_array_elements_text
    else:
        lists, elements = func.json_valid(names) == 1, func.json_each
    element = elements(case((lists, names), else_=literal_column("'[]'", JSON))).table_valued("value")
    return exists(select(literal(1)).select_from(element).where(element.c.value == name))


def _refuse_nul(row: ItemRow) -> None:
    """Refuse NUL: PostgreSQL does not store it or, worse, stores it in a genre and fails at each search for one."""
    if any("\0" in text for text in (row.item_id, row.title, *row.genres, *row.tags, row.image_path or "", row.text)):
        raise DataError(f"the item {row.item_id!r} holds the character U+0000, which is not text")


def _batches(rows: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(rows)
    while batch := list(itertools.islice(rest, BATCH)):
        yield batch
