"""Interactions: added without repetition, read in the order they came, by user, and as columns."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Insert,
    ScalarSelect,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from fedmem.storage.catalogue_rows import DeletionResult, Event, InteractionColumns, InteractionRow, UserRow
from fedmem.storage.schema import datasets, interactions
from fedmem.storage.stored_interactions import Rows, WholeRows
from fedmem.times import FIRST_DATE

BATCH = 10_000  # rows fetched at once

_ROW = (interactions.c.id, interactions.c.user_id, interactions.c.item_id, interactions.c.timestamp)


def insert_new(connection: Connection, table: Table) -> Insert:
    """Return an INSERT that skips rows that break a unique constraint, and whose rowcount is what it inserted."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement: Insert = dialect.insert(table).on_conflict_do_nothing()
    return statement.execution_options(preserve_rowcount=True)


def any_history_of(connection: Connection, dataset_id: int, least: int) -> bool:
    """Say whether any user of a data set has so many interactions; it is looked for until one is found."""
    of_user = select(interactions.c.user_id).where(interactions.c.dataset_id == dataset_id)
    long_enough = of_user.group_by(interactions.c.user_id).having(func.count() >= least).limit(1)
    return connection.execute(long_enough).first() is not None


def newest_id(connection: Connection, dataset_id: int) -> int:
    """Return the id up to which the data set's interactions may be seen; new feedback comes after it."""
    newest: int = connection.execute(select(datasets.c.newest_id).where(datasets.c.id == dataset_id)).scalar_one()
    return newest


def add_interactions(connection: Connection, dataset_id: int, rows: InteractionColumns, after_id: int) -> int:
    """Insert what is not there yet, with the ids after one, and return how many rows that were.

    The data set must be locked, and no row of any have such an id.
    """
    ids = range(after_id + 1, after_id + 1 + len(rows))
    insert_batch = _insert_arrays if connection.dialect.name == "postgresql" else _insert_rows
    return insert_batch(connection, dataset_id, rows, ids) if len(rows) else 0


def _insert_rows(connection: Connection, dataset_id: int, rows: InteractionColumns, ids: range) -> int:
    parameters = [
        {"id": id, "dataset_id": dataset_id, "user_id": user, "item_id": item, "timestamp": float(time)}
        for id, user, item, time in zip(ids, rows.users, rows.items, rows.timestamps, strict=True)
    ]
    return connection.execute(insert_new(connection, interactions), parameters).rowcount


def _insert_arrays(connection: Connection, dataset_id: int, rows: InteractionColumns, ids: range) -> int:
    """Insert the rows in one statement: five times as fast on PostgreSQL as one per row, and it counts its rows."""
    arrays = [
        literal(list(map(convert, column)), ARRAY(kind))
        for convert, kind, column in (
            (int, BigInteger, ids),
            (str, Text, rows.users),
            (str, Text, rows.items),
            (float, Double, rows.timestamps),
        )
    ]
    columns = ("id", "user_id", "item_id", "timestamp")
    new = func.unnest(*arrays).table_valued(*columns).render_derived()
    selected = select(literal(dataset_id), *(new.c[name] for name in columns))
    statement = insert_new(connection, interactions).from_select(("dataset_id", *columns), selected)
    return connection.execute(statement).rowcount


def give_way(connection: Connection, dataset_id: int, rows: InteractionColumns) -> None:
    """Drop these rows where an import under way has them, so that they can be stored and seen at once."""
    same = [interactions.c[name] == bindparam(f"same_{name}") for name in ("user_id", "item_id", "timestamp")]
    unseen = delete(interactions).where(
        interactions.c.dataset_id == dataset_id, *same, interactions.c.id > _newest(dataset_id)
    )
    parameters = [
        {"same_user_id": user, "same_item_id": item, "same_timestamp": float(time)}
        for user, item, time in zip(rows.users, rows.items, rows.timestamps, strict=True)
    ]
    if parameters:
        connection.execute(unseen, parameters)


def seen(dataset_id: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return what is true of the interactions that may be seen."""
    return interactions.c.dataset_id == dataset_id, interactions.c.id <= _newest(dataset_id)


def _newest(dataset_id: int) -> ScalarSelect[Any]:
    return select(datasets.c.newest_id).where(datasets.c.id == dataset_id).scalar_subquery()


def count_seen(connection: Connection, dataset_id: int, until: float = math.inf) -> int:
    """Count the rows of up to a time."""
    wanted = *seen(dataset_id), interactions.c.timestamp <= float(until)
    return int(connection.scalar(select(func.count()).select_from(interactions).where(*wanted)) or 0)


def any_row(connection: Connection, dataset_id: int, before: float = math.inf) -> bool:
    """Say whether the data set has interactions, of before a time."""
    wanted = select(interactions.c.id).where(*seen(dataset_id), interactions.c.timestamp < before)
    return connection.scalar(wanted.limit(1)) is not None


def counts_seconds(connection: Connection, dataset_id: int) -> bool:
    """Say whether all times of the data set are dates, so that a step is none of its times."""
    return not any_row(connection, dataset_id, FIRST_DATE) and any_row(connection, dataset_id)


def is_step(timestamp: float) -> bool:
    """Say whether a time counts steps, by its size; a negative one is a date before 1970."""
    return 0 <= timestamp < FIRST_DATE


def read_columns(connection: Connection, dataset_id: int, until_id: int | None) -> tuple[InteractionColumns, int]:
    """Read all whole rows up to an id, in order of ids, and the last one's id (0 if there is none)."""
    newest = newest_id(connection, dataset_id)
    until = newest if until_id is None else min(until_id, newest)
    statement = _in_order(dataset_id).where(interactions.c.id <= until)
    users, items, times = _Column(), _Column(), [np.zeros(0)]
    last, whole = 0, WholeRows(connection, dataset_id)
    for part in connection.execute(statement, execution_options={"yield_per": BATCH}).partitions():
        last = part[-1].id
        if rows := whole.of(part):
            _, user_ids, item_ids, timestamps = zip(*rows, strict=True)
            users.extend(user_ids)
            items.extend(item_ids)
            times.append(np.array(timestamps, dtype=np.float64))
    whole.say()
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
    """List the next whole rows after an id: some, if there are any."""
    newest, whole = newest_id(connection, dataset_id), WholeRows(connection, dataset_id)
    rows: Rows = []
    while after_id < newest and not rows:
        # Between two ids, which every planner knows to be few, unlike all ids after one.
        statement = _in_order(dataset_id).where(interactions.c.id.between(after_id + 1, newest)).limit(limit)
        found = connection.execute(statement).all()
        rows, after_id = whole.of(found), found[-1].id if len(found) == limit else newest
    whole.say_once()
    return [InteractionRow(*row) for row in rows]


def _in_order(dataset_id: int) -> Select[Any]:
    # With + 0 no index on the data set fits, and the table is walked by id, without a sort.
    return select(*_ROW).where((interactions.c.dataset_id + 0) == dataset_id).order_by(interactions.c.id)


def history_of(connection: Connection, dataset_id: int, user_id: str) -> list[InteractionRow]:
    """List a user's whole rows in order of time, ties as they came."""
    order, whole = (interactions.c.timestamp, interactions.c.id), WholeRows(connection, dataset_id)
    statement = select(*_ROW).where(*seen(dataset_id), interactions.c.user_id == user_id).order_by(*order)
    rows = whole.of(connection.execute(statement).all())
    whole.say_once()
    return [InteractionRow(*row) for row in rows]


def first_of(connection: Connection, dataset_id: int, user_id: str) -> int | None:
    """Return the least id of a user's rows; None without any."""
    of_user = (*seen(dataset_id), interactions.c.user_id == user_id)
    first: int | None = connection.scalar(select(func.min(interactions.c.id)).where(*of_user))
    return first


def delete_user(connection: Connection, dataset_id: int, user_id: str) -> DeletionResult:
    """Delete a user's rows from a data set that is locked, those of an import under way too."""
    of_user = interactions.c.dataset_id == dataset_id, interactions.c.user_id == user_id
    gone = connection.execute(delete(interactions).where(*of_user)).rowcount
    return DeletionResult(gone, newest_id(connection, dataset_id))


def each_user(dataset_id: int, after: str | None = None, until_id: int | None = None) -> Select[tuple[str]]:
    """Select the distinct user ids after ``after``, each found by one index look-up instead of one per interaction.

    With ``until_id``, only those with an interaction up to that id.
    """
    of_dataset = interactions.c.dataset_id == dataset_id
    of_dataset &= interactions.c.id <= (_newest(dataset_id) if until_id is None else until_id)
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
    found: Iterable[str] = connection.scalars(users.order_by(column).limit(limit))
    wanted = [user for user in found if isinstance(user, str)]  # of damaged rows bytes, behind all texts
    counted = (
        select(interactions.c.user_id, func.count().label("length"))
        .where(*seen(dataset_id), interactions.c.user_id.in_(wanted))
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
