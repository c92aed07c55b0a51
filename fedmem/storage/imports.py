"""Imports that are seen all at once or not at all, though they are written in many transactions.

An import writes where no reader looks: interactions with ids, and items with versions, above all that may be seen of
the data set. One small transaction then says that they may. Meanwhile others go on writing below. What an import leaves
that was killed is never seen, and the next one, or the next start, clears it away.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Engine, delete, insert, select, update

from fedmem.config import Repeats
from fedmem.errors import ConflictError
from fedmem.storage.engine import note_deletion, reading, writing
from fedmem.storage.interactions import insert_new
from fedmem.storage.schema import datasets, imports, interactions, items
from fedmem.storage.turns import PIECE, in_turns, split

BLOCK = 2**32  # ids of an import and of the feedback until the next one; versions likewise


@dataclass(frozen=True)
class Import:
    """An import under way: its interactions have ids from ``first`` + 1 on, its items the version ``first``."""

    id: int
    dataset_id: int

    @property
    def first(self) -> int:
        """Above all that was seen of any data set before."""
        return self.id * BLOCK


def begin(connection: Connection, name: str, source: str, now: float) -> Import:
    """Begin an import into a data set, created unseen if missing. Only one may be under way."""
    connection.execute(
        insert_new(connection, datasets), {"name": name, "source": source, "imported_at": now, "newest_id": None}
    )
    dataset_id = connection.execute(select(datasets.c.id).where(datasets.c.name == name)).scalar_one()
    number = connection.scalar(insert(imports).values(dataset_id=dataset_id).returning(imports.c.id))
    assert number is not None
    return Import(number, dataset_id)


def lock(connection: Connection, mine: Import) -> None:
    """Lock the data set against other writers until this transaction ends.

    Raises:
        ConflictError: if the import was cleared away, as its process was held to be dead.
    """
    wanted = select(datasets.c.id).join(imports).where(imports.c.id == mine.id)
    if connection.scalar(wanted.with_for_update(key_share=True, of=datasets)) is None:
        raise ConflictError("the import lost its connection and was cleared away by another; import again")


def under_way(connection: Connection, dataset_id: int) -> bool:
    """Say whether rows of an import, unseen so far, may be in the way of others; the data set must be locked."""
    return connection.scalar(select(imports.c.id).where(imports.c.dataset_id == dataset_id).limit(1)) is not None


def publish(
    connection: Connection, mine: Import, last_id: int, source: str, repeats: Repeats | None, now: float
) -> None:
    """Let all that the import wrote be seen; where ``repeats`` is None, what an earlier import has said of it stays."""
    lock(connection, mine)
    seen = {"newest_id": last_id, "items_version": mine.first, "source": source, "imported_at": now}
    said = {} if repeats is None else {"repeats": repeats}
    connection.execute(update(datasets).where(datasets.c.id == mine.dataset_id).values(**seen, **said))


def clear(engine: Engine) -> None:
    """Clear away what imports and removals have left that were cut off; none may be under way."""
    with reading(engine) as connection:
        left = [Import(*row) for row in connection.execute(select(imports.c.id, imports.c.dataset_id))]
        unseen = list(connection.scalars(select(datasets.c.id).where(datasets.c.newest_id.is_(None))))
    for mine in left:
        settle(engine, mine)
    for dataset_id in unseen:
        clear_dataset(engine, dataset_id)


def settle(engine: Engine, mine: Import) -> None:
    """Clear away what is not seen: what an import has replaced or, where it came to no end, what it wrote."""
    with reading(engine) as connection:
        newest = connection.scalar(select(datasets.c.newest_id).where(datasets.c.id == mine.dataset_id))
    if newest is None:
        clear_dataset(engine, mine.dataset_id)
    elif newest < mine.first:
        _delete(engine, interactions.c.id, interactions.c.id.between(mine.first, mine.first + BLOCK - 1))
        _delete(engine, items.c.item_id, *_written(mine))
    else:
        _delete_older(engine, mine)
    with writing(engine) as connection:
        connection.execute(delete(imports).where(imports.c.id == mine.id))


def clear_dataset(engine: Engine, dataset_id: int) -> None:
    """Delete a data set that is not seen, with all that is in it; SQLite's file is then to be written anew."""
    _delete(engine, interactions.c.id, interactions.c.dataset_id == dataset_id)
    _delete(engine, items.c.item_id, items.c.dataset_id == dataset_id)
    with writing(engine) as connection:
        connection.execute(delete(datasets).where(datasets.c.id == dataset_id, datasets.c.newest_id.is_(None)))
        note_deletion(connection)


def _written(mine: Import) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return items.c.dataset_id == mine.dataset_id, items.c.version == mine.first


def _delete_older(engine: Engine, mine: Import) -> None:
    """Delete what an import has replaced of the items."""

    def some(connection: Connection, written: list[str]) -> None:
        older = items.c.dataset_id == mine.dataset_id, items.c.version < mine.first, items.c.item_id.in_(written)
        connection.execute(delete(items).where(*older))

    with reading(engine) as connection:
        written = list(connection.scalars(select(items.c.item_id).where(*_written(mine))))
    in_turns(engine, split(written), some)


def _delete(engine: Engine, key: Column[Any], *where: ColumnElement[bool]) -> None:
    """Delete rows of a table, some at a time, until there are none."""
    some = delete(key.table).where(*where, key.in_(select(key).where(*where).limit(PIECE)))
    more = [True]

    def delete_some(connection: Connection, _: bool) -> None:
        more[0] = connection.execute(some).rowcount > 0

    in_turns(engine, iter(lambda: more[0], False), delete_some)
