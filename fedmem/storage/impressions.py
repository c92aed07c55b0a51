"""A sample of what was recommended, what users did with it, and the counts of both."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Engine, Row, bindparam, case, delete, func, select, update

from fedmem.errors import UnknownDatasetError
from fedmem.storage import datasets, deletions
from fedmem.storage.catalogue_rows import Event
from fedmem.storage.engine import reading, writing
from fedmem.storage.interactions import insert_new, is_step
from fedmem.storage.schema import impressions

HOUR = 3600.0
SKEW = 60.0  # seconds by which a caller's clock may be behind
ASKED_TOGETHER = 10_000
LOOKED_AT = 100  # newest answers that showed a user an item: a flood of them is not read at every event
ATTRIBUTION_WINDOW = 24 * HOUR

By = Literal["version", "strategy", "position"]


@dataclass(frozen=True)
class ShownList:
    """An answer that was sampled: who got it, from which model, and the items, of which the first was at a position."""

    dataset: str
    recommendation_id: str
    user_id: str
    version: str
    strategy: str
    shown_at: float
    first: int
    item_ids: tuple[str, ...]
    test_id: int | None = None  # the A/B test that it was an answer of


@dataclass(frozen=True)
class ImpressionRow:
    """An item that was shown to a user, and when the user clicked and took it."""

    recommendation_id: str
    position: int
    item_id: str
    version: str
    shown_at: float
    clicked_at: float | None
    taken_at: float | None


@dataclass(frozen=True)
class Tally:
    """Of the answers of one group: how many there are, led to a click and to a hit, and what the hits are worth.

    ``pending`` is how many of them may still lead to one.
    """

    group: str
    answers: int
    pending: int
    clicks: int
    hits: int
    worth: float


class ImpressionStore:
    """The sample. Each method is one transaction for each data set.

    Args:
        engine: the database.
        window: seconds after an answer in which what a user does counts for it.
    """

    def __init__(
        self, engine: Engine, window: float = ATTRIBUTION_WINDOW, clock: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._window = window
        self._clock = clock

    def add(self, lists: Iterable[ShownList]) -> int:
        """Store answers, and return how many; those of users who were deleted, or of data sets that were, are not."""
        stored = 0
        for dataset, some in groupby(sorted(lists, key=lambda one: one.dataset), key=lambda one: one.dataset):
            with writing(self._engine) as connection:
                try:
                    dataset_id = datasets.lock_dataset(connection, dataset)
                except UnknownDatasetError:
                    continue
                stored += _add(connection, dataset_id, list(some))
        return stored

    def keep(self, days: float, most: int) -> None:
        """Delete what is older than so many days, and the oldest beyond so many rows."""
        with writing(self._engine) as connection:
            newest_first = select(impressions.c.shown_at).order_by(impressions.c.shown_at.desc())
            beyond = connection.scalar(newest_first.offset(most).limit(1))
            oldest = max(self._clock() - 24 * HOUR * days, -1.0 if beyond is None else beyond)
            connection.execute(delete(impressions).where(impressions.c.shown_at <= oldest))

    def of_user(self, dataset: str, user_id: str) -> list[ImpressionRow]:
        """List what is stored of a user, oldest first."""
        names = ImpressionRow.__dataclass_fields__
        with reading(self._engine) as connection:
            of_user = _of_user(datasets.find_dataset(connection, dataset), user_id)
            order = impressions.c.shown_at, impressions.c.recommendation_id, impressions.c.position
            rows = connection.execute(select(*(impressions.c[name] for name in names)).where(*of_user).order_by(*order))
            return [ImpressionRow(*row) for row in rows]

    def tally(self, dataset: str, by: By, since: float) -> list[Tally]:
        """Count the answers from a time on, by what they have in common."""
        with reading(self._engine) as connection:
            of_data = impressions.c.dataset_id == datasets.find_dataset(connection, dataset)
            where = of_data, impressions.c.shown_at >= since
            return [_tally(row) for row in connection.execute(_counted(by, where, self._clock() - self._window))]


def mark(connection: Connection, dataset_id: int, events: Sequence[Event], window: float, now: float) -> None:
    """Note which sampled answers led to these clicks and interactions, in the transaction that stores them.

    An event counts for the answer that it names or, where it names none, for the newest that showed the user the item,
    if that was not longer ago than the window.
    """
    wanted = [event for event in events if event.trains or event.kind == "click"]
    shown = _shown(connection, dataset_id, wanted, now - window - SKEW)
    found = ((event, row) for event in wanted if (row := _answer_to(event, shown, window, now)) is not None)
    _write(connection, dataset_id, [(event, row, _time(event, now)) for event, row in found])


def forget_user(connection: Connection, dataset_id: int, user_id: str) -> None:
    """Delete what was shown to a user; the data set is locked."""
    connection.execute(delete(impressions).where(*_of_user(dataset_id, user_id)))


def _of_user(dataset_id: int, user_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return impressions.c.dataset_id == dataset_id, impressions.c.user_id == user_id


def _add(connection: Connection, dataset_id: int, lists: Sequence[ShownList]) -> int:
    deleted = deletions.deleted_users(connection, dataset_id, {one.user_id for one in lists})
    kept = [one for one in lists if one.user_id not in deleted]
    rows = [row for one in kept for row in _rows(dataset_id, one)]
    if rows:
        connection.execute(insert_new(connection, impressions), rows)
    return len(kept)


def _rows(dataset_id: int, one: ShownList) -> Iterator[dict[str, Any]]:
    names = ("recommendation_id", "user_id", "version", "strategy", "shown_at", "test_id")
    common = {"dataset_id": dataset_id, **{name: getattr(one, name) for name in names}}
    for position, item_id in enumerate(one.item_ids, one.first):
        yield {**common, "position": position, "item_id": item_id}


_Shown = Mapping[tuple[str, str], Sequence[Row[Any]]]  # by user and item, the newest first


def _shown(connection: Connection, dataset_id: int, events: Sequence[Event], since: float) -> _Shown:
    """Read which answers showed users what events are about: of each item the newest, and those that are named."""
    found: dict[tuple[str, str], list[Row[Any]]] = {}
    users, items = (sorted({getattr(event, name) for event in events}) for name in ("user_id", "item_id"))
    named = {event.recommendation_id for event in events if event.recommendation_id is not None}
    column = impressions.c
    newest_first = column.shown_at.desc()
    place = func.row_number().over(partition_by=(column.user_id, column.item_id), order_by=newest_first).label("place")
    in_time = column.shown_at >= since, column.shown_at < math.inf  # of a damaged row it may be a text or NaN
    shown = select(impressions, place).where(column.dataset_id == dataset_id, *in_time)
    for start in range(0, len(users), ASKED_TOGETHER):
        of_users = column.user_id.in_(users[start : start + ASKED_TOGETHER]), column.item_id.in_(items)
        all_of_them = shown.where(*of_users).subquery()
        wanted = (all_of_them.c.place <= LOOKED_AT) | all_of_them.c.recommendation_id.in_(named)
        rows = select(all_of_them).where(wanted).order_by(all_of_them.c.shown_at.desc())
        for row in connection.execute(rows):
            found.setdefault((row.user_id, row.item_id), []).append(row)
    return found


def _time(event: Event, now: float) -> float:
    """Return when an event was; a step is no time, and what has not happened yet is of a clock that is ahead."""
    return now if is_step(event.timestamp) else min(event.timestamp, now)


def _answer_to(event: Event, shown: _Shown, window: float, now: float) -> Row[Any] | None:
    for row in shown.get((event.user_id, event.item_id), ()):
        in_time = row.shown_at - SKEW <= _time(event, now) <= row.shown_at + window
        if in_time and event.recommendation_id in (None, row.recommendation_id):
            return row
    return None


def _write(connection: Connection, dataset_id: int, found: Sequence[tuple[Event, Row[Any], float]]) -> None:
    """Write the first click and the first taking of each impression; the same again changes nothing."""
    here = [
        impressions.c.dataset_id == dataset_id,
        impressions.c.recommendation_id == bindparam("answer"),
        impressions.c.position == bindparam("at"),
    ]
    for trains, column in ((False, impressions.c.clicked_at), (True, impressions.c.taken_at)):
        rows = [
            {"answer": row.recommendation_id, "at": row.position, "time": time, "weight": event.weight}
            for event, row, time in found
            if event.trains == trains
        ]
        if rows:
            values: dict[str, Any] = {column.name: bindparam("time")}
            if trains:
                values["worth"] = bindparam("weight")
            connection.execute(update(impressions).where(*here, column.is_(None)).values(values), rows)


def _counted(by: By, where: tuple[ColumnElement[bool], ...], open_since: float) -> Any:
    """Select a row for each group; of an answer it counts whether it led to anything, not how often."""
    group = impressions.c[by].label("name")

    def any_of(column: ColumnElement[Any]) -> ColumnElement[int]:
        return func.max(case((column.is_not(None), 1), else_=0))

    worth = impressions.c.worth
    number = case(((worth > -math.inf) & (worth < math.inf), worth), else_=0.0)  # a damaged row's may be a text or NaN
    answers = (
        select(
            group,
            func.max(case((impressions.c.shown_at > open_since, 1), else_=0)).label("pending"),
            any_of(impressions.c.clicked_at).label("clicks"),
            any_of(impressions.c.taken_at).label("hits"),
            func.sum(number).label("worth"),
        )
        .where(*where)
        .group_by(group, impressions.c.recommendation_id)
        .subquery()
    )
    sums = (func.sum(answers.c[name]) for name in ("pending", "clicks", "hits", "worth"))
    return select(answers.c.name, func.count(), *sums).group_by(answers.c.name).order_by(answers.c.name)


def _tally(row: Sequence[Any]) -> Tally:
    group, *counts, worth = row
    answers, pending, clicks, hits = map(int, counts)
    return Tally(str(group), answers, pending, clicks, hits, float(worth))
