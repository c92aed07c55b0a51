"""Items that are hidden: not recommended until they are shown again, whatever a model knows of them."""

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, delete, exists, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from fedmem.errors import ConflictError, UnknownItemError
from fedmem.storage.interactions import BATCH
from fedmem.storage.items import missing_items
from fedmem.storage.schema import datasets, hidden_items, interactions, items

NAMED = 5  # unknown items in a message


def change_hidden(
    connection: Connection, dataset_id: int, hide: Collection[str], show: Collection[str], now: float
) -> tuple[int, int]:
    """Hide some items and show others; how many of them were not so before. The data set must be locked.

    Raises:
        UnknownItemError: naming those that the data set lacks; nothing is changed.
        ConflictError: if one is to be hidden and shown.
    """
    if both := sorted({*hide} & {*show}):
        raise ConflictError(f"the item {both[0]!r} is to be hidden and to be shown; say one of them")
    _require(connection, dataset_id, {*hide, *show})
    hidden = sum(_hide(connection, dataset_id, some, now) for some in _pieces(hide))
    shown = sum(_show(connection, dataset_id, some) for some in _pieces(show))
    if hidden or shown:
        connection.execute(
            update(datasets).where(datasets.c.id == dataset_id).values(hidden_version=datasets.c.hidden_version + 1)
        )
    return hidden, shown


def hidden_version(connection: Connection, dataset_id: int) -> int:
    """Return what grows whenever an item is hidden or shown."""
    version: int = connection.execute(select(datasets.c.hidden_version).where(datasets.c.id == dataset_id)).scalar_one()
    return version


def all_hidden(connection: Connection, dataset_id: int) -> frozenset[str]:
    """Return the ids of the hidden items."""
    wanted = select(hidden_items.c.item_id).where(hidden_items.c.dataset_id == dataset_id)
    return frozenset(connection.scalars(wanted))


def is_hidden() -> ColumnElement[bool]:
    """Say of a row of ``items`` whether the item is hidden."""
    same = hidden_items.c.dataset_id == items.c.dataset_id, hidden_items.c.item_id == items.c.item_id
    return exists(select(literal(1)).where(*same))


def delete_item(connection: Connection, dataset_id: int, item_id: str, now: float) -> None:
    """Delete an item that no user has taken, and hide it from the models that know it; the data set must be locked.

    Raises:
        UnknownItemError: if there is none.
        ConflictError: if a user has taken it.
    """
    taken = select(literal(1)).where(interactions.c.dataset_id == dataset_id, interactions.c.item_id == item_id)
    _require(connection, dataset_id, {item_id})
    if connection.execute(taken.limit(1)).first() is not None:
        raise ConflictError(f"users have taken the item {item_id!r}, and their histories name it: hide it instead")
    change_hidden(connection, dataset_id, [item_id], (), now)
    connection.execute(delete(items).where(items.c.dataset_id == dataset_id, items.c.item_id == item_id))


def _require(connection: Connection, dataset_id: int, item_ids: Collection[str]) -> None:
    if missing := missing_items(connection, dataset_id, item_ids):
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        named = ", ".join(map(repr, missing[:NAMED]))
        raise UnknownItemError(f"the data set has no item {named}{more}; nothing was changed")


def _hide(connection: Connection, dataset_id: int, item_ids: list[str], now: float) -> int:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    rows = [{"dataset_id": dataset_id, "item_id": item_id, "hidden_at": now} for item_id in item_ids]
    before = len(all_of(connection, dataset_id, item_ids))
    connection.execute(dialect.insert(hidden_items).on_conflict_do_nothing(), rows)
    return len(item_ids) - before


def _show(connection: Connection, dataset_id: int, item_ids: list[str]) -> int:
    of_items = hidden_items.c.dataset_id == dataset_id, hidden_items.c.item_id.in_(item_ids)
    return connection.execute(delete(hidden_items).where(*of_items)).rowcount


def all_of(connection: Connection, dataset_id: int, item_ids: Iterable[str]) -> frozenset[str]:
    """Return which of some items are hidden."""
    of_items = hidden_items.c.dataset_id == dataset_id, hidden_items.c.item_id.in_(list(item_ids))
    return frozenset(connection.scalars(select(hidden_items.c.item_id).where(*of_items)))


def _pieces(item_ids: Collection[str]) -> list[list[str]]:
    distinct = list(dict.fromkeys(item_ids))
    return [distinct[start : start + BATCH] for start in range(0, len(distinct), BATCH)]
