"""Interactions: added without repetition, read in the order they came, by user, and as columns."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ARRAY, Connection, Double, Insert, Select, Table, Text, delete, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from fedmem.storage.catalogue_rows import Deleted, Event, InteractionColumns, InteractionRow, UserRow
from fedmem.storage.schema import interactions
from fedmem.times import FIRST_DATE

BATCH = 10_000  # rows sent or fetched at once

_ROW = (interactions.c.id, interactions.c.user_id, interactions.c.item_id, interactions.c.timestamp)

Progress = Callable[[int], None]


def insert_new(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that skips rows that break a unique constraint, and whose rowcount is what it inserted."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement: Insert = dialect.insert(table).on_conflict_do_nothing()
    return statement.execution_options(preserve_rowcount=True)


def add_interactions(connection: Connection, dataset_id: int, rows: InteractionColumns, progress: Progress) -> int:
    """Insert what is not there yet and return how many rows that were; the data set must be locked."""
    insert_batch = _insert_arrays if connection.dialect.name == "postgresql" else _insert_rows
    added = done = 0
    for batch in rows.batches(BATCH):
        added += insert_batch(connection, dataset_id, batch)
        done += len(batch)
        progress(done)
    return added


def _insert_rows(connection: Connection, dataset_id: int, batch: InteractionColumns) -> int:
    columns = zip(batch.users, batch.items, batch.timestamps, strict=True)
    parameters = [
        {"dataset_id": dataset_id, "user_id": user, "item_id": item, "timestamp": float(time)}
        for user, item, time in columns
    ]
    return connection.execute(insert_new(connection, interactions), parameters).rowcount


def _insert_arrays(connection: Connection, dataset_id: int, batch: InteractionColumns) -> int:
    """Insert the batch in one statement: five times as fast on PostgreSQL as one per row, and it counts its rows."""
    arrays = [
        literal(list(map(convert, column)), ARRAY(kind))
        for convert, kind, column in (
            (str, Text, batch.users),
            (str, Text, batch.items),
            (float, Double, batch.timestamps),
        )
    ]
    rows = func.unnest(*arrays).table_valued("user_id", "item_id", "timestamp").render_derived()
    columns = ("dataset_id", "user_id", "item_id", "timestamp")
    selected = select(literal(dataset_id), rows.c.user_id, rows.c.item_id, rows.c.timestamp)
    return connection.execute(insert_new(connection, interactions).from_select(columns, selected)).rowcount


def count_up_to(connection: Connection, dataset_id: int, timestamp: float) -> int:
    """Count the rows with at most this timestamp."""
    rows = select(func.count()).select_from(interactions)
    wanted = rows.where(interactions.c.dataset_id == dataset_id, interactions.c.timestamp <= float(timestamp))
    return int(connection.scalar(wanted) or 0)


def any_row(connection: Connection, dataset_id: int, before: float = math.inf) -> bool:
    """Say whether the data set has interactions, of before a time."""
    wanted = (interactions.c.dataset_id == dataset_id, interactions.c.timestamp < before)
    return connection.scalar(select(interactions.c.id).where(*wanted).limit(1)) is not None


def counts_seconds(connection: Connection, dataset_id: int) -> bool:
    """Say whether all times of the data set are dates, so that a step is none of its times."""
    return not any_row(connection, dataset_id, FIRST_DATE) and any_row(connection, dataset_id)


def is_step(timestamp: float) -> bool:
    """Say whether a time counts steps, by its size; a negative one is a date before 1970."""
    return 0 <= timestamp < FIRST_DATE


def read_columns(connection: Connection, dataset_id: int, until_id: int | None) -> tuple[InteractionColumns, int]:
    """Read all rows up to an id, in order of ids, and the last one's id (0 if there is none)."""
    statement = _in_order(dataset_id)
    if until_id is not None:
        statement = statement.where(interactions.c.id <= until_id)
    users, items, times = _Column(), _Column(), [np.zeros(0)]
    last = 0
    for part in connection.execute(statement, execution_options={"yield_per": BATCH}).partitions():
        ids, user_ids, item_ids, timestamps = zip(*part, strict=True)
        users.extend(user_ids)
        items.extend(item_ids)
        times.append(np.array(timestamps, dtype=np.float64))
        last = ids[-1]
    return InteractionColumns(users.joined(), items.joined(), np.concatenate(times)), last


class _Column:
    """A growing column of ids, one object per distinct id however often it occurs."""

    def __init__(self) -> None:
        self._distinct: dict[str, str] = {}
        self._parts = [np.zeros(0, dtype=object)]

    def extend(self, ids: Sequence[str]) -> None:
        self._parts.append(np.array([*(self._distinct.setdefault(raw, raw) for raw in ids), None], dtype=object)[:-1])

    def joined(self) -> Any:
        return np.concatenate(self._parts)


def rows_after(connection: Connection, dataset_id: int, after_id: int, limit: int) -> list[InteractionRow]:
    """List the next rows after an id."""
    newest = connection.scalar(select(func.max(interactions.c.id))) or 0
    if newest <= after_id:
        return []
    # Between two ids, which every planner knows to be few, unlike all ids after one.
    statement = _in_order(dataset_id).where(interactions.c.id.between(after_id + 1, newest)).limit(limit)
    return [InteractionRow(*row) for row in connection.execute(statement)]


def _in_order(dataset_id: int) -> Select[Any]:
    # With + 0 no index on the data set fits, and the table is walked by id, without a sort.
    return select(*_ROW).where((interactions.c.dataset_id + 0) == dataset_id).order_by(interactions.c.id)


def history_of(connection: Connection, dataset_id: int, user_id: str) -> list[InteractionRow]:
    """List a user's rows in order of time, ties as they came."""
    order = (interactions.c.timestamp, interactions.c.id)
    statement = select(*_ROW).where(*_of_user(dataset_id, user_id)).order_by(*order)
    return [InteractionRow(*row) for row in connection.execute(statement)]


def delete_user(connection: Connection, dataset_id: int, user_id: str) -> Deleted:
    """Delete a user's rows from a data set that is locked."""
    newest = connection.scalar(select(func.max(interactions.c.id))) or 0
    gone = connection.execute(delete(interactions).where(*_of_user(dataset_id, user_id))).rowcount
    return Deleted(gone, newest)


def _of_user(dataset_id: int, user_id: str) -> tuple[Any, Any]:
    return interactions.c.dataset_id == dataset_id, interactions.c.user_id == user_id


def each_user(dataset_id: int, after: str | None = None, until_id: int | None = None) -> Select[tuple[str]]:
    """Select the distinct user ids after ``after``, each found by one index look-up instead of one per interaction.

    With ``until_id``, only those with an interaction up to that id.
    """
    of_dataset = interactions.c.dataset_id == dataset_id
    if until_id is not None:
        of_dataset &= interactions.c.id <= until_id
    first = select(func.min(interactions.c.user_id).label("user_id")).where(of_dataset)
    if after is not None:
        first = first.where(interactions.c.user_id > after)
    found = first.cte("found", recursive=True)
    following = select(func.min(interactions.c.user_id)).where(of_dataset, interactions.c.user_id > found.c.user_id)
    found = found.union_all(select(following.scalar_subquery()).where(found.c.user_id.is_not(None)))
    return select(found.c.user_id).where(found.c.user_id.is_not(None))


def users_page(connection: Connection, dataset_id: int, search: str, after: str | None, limit: int) -> list[UserRow]:
    """List the users after ``after``, in the order of the database, whose id contains ``search``."""
    users = each_user(dataset_id, after)
    column = users.selected_columns.user_id
    if search:
        users = users.where(column.contains(search, autoescape=True))
    wanted: list[str] = list(connection.scalars(users.order_by(column).limit(limit)))
    counted = (
        select(interactions.c.user_id, func.count().label("length"))
        .where(interactions.c.dataset_id == dataset_id, interactions.c.user_id.in_(wanted))
        .group_by(interactions.c.user_id)
    )
    lengths: dict[str, int] = {row.user_id: row.length for row in connection.execute(counted)}
    return [UserRow(user_id, lengths[user_id]) for user_id in wanted]


def as_columns(events: Sequence[Event]) -> InteractionColumns:
    """Turn events into columns."""
    return InteractionColumns(
        [event.user_id for event in events],
        [event.item_id for event in events],
        [event.timestamp for event in events],
    )
