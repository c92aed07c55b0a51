"""Feedback: each event is taken or refused by itself. Inside the caller's transaction, with the data set locked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from fedmem.errors import DataError, FedMemError, TooMuchError, UnknownItemError
from fedmem.storage import deletions, feedback_days, imports, impressions, interactions, items
from fedmem.storage.catalogue_rows import AppendResult, Event
from fedmem.storage.datasets import let_be_seen

NAMED = 5  # unknown items in a message
AHEAD = 300.0  # seconds by which a sender's clock may be ahead of this machine's


@dataclass(frozen=True)
class FeedbackResult:
    """What became of events; those that were refused by their places, in order."""

    added: AppendResult
    refused: Mapping[int, FedMemError]


@dataclass(frozen=True)
class Feedback:
    """Takes events of one data set.

    Attributes:
        connection: in a transaction that has locked the data set.
        dataset_id: the data set.
        name: of the data set, for messages.
        most_per_day: how many new interactions of a user are taken in a day (UTC); None: any number.
        now: seconds since 1970.
        window: seconds after an answer in which events count for it.
    """

    connection: Connection
    dataset_id: int
    name: str
    most_per_day: int | None
    now: float
    window: float

    def take(self, events: Sequence[Event]) -> FeedbackResult:
        """Store those that train, and say which cannot be taken; those of deleted users from before are left out."""
        refused = self._wrong(events)
        good = {place: event for place, event in enumerate(events) if place not in refused}
        training = {place: event for place, event in good.items() if event.trains}
        others = [event for event in good.values() if not event.trains]
        added, over = self._add(training)
        refused |= over
        counted = len(deletions.without_deleted(self.connection, self.dataset_id, interactions.as_columns(others)))
        taken = [event for place, event in good.items() if place not in over]
        impressions.mark(self.connection, self.dataset_id, taken, self.window, self.now)
        added = AppendResult(added.accepted, added.duplicates, added.left_out + len(others) - counted, counted)
        return FeedbackResult(added, dict(sorted(refused.items())))

    def _wrong(self, events: Sequence[Event]) -> dict[int, FedMemError]:
        """Find the events that the data set cannot hold, and why."""
        found: dict[int, FedMemError] = {}
        missing = set(items.missing_items(self.connection, self.dataset_id, (event.item_id for event in events)))
        steps = any(interactions.is_step(event.timestamp) for event in events)
        dates = steps and interactions.counts_seconds(self.connection, self.dataset_id)
        for place, event in enumerate(events):
            if error := _unstorable(event) or _to_come(event, self.now):
                found[place] = error
            elif event.item_id in missing:
                found[place] = UnknownItemError(
                    f"the data set {self.name!r} has no item {event.item_id!r}; put it first"
                )
            elif dates and interactions.is_step(event.timestamp):
                found[place] = DataError(
                    f"{_described(event)} has the time {event.timestamp:g}, which is no date, as all times of the data "
                    f"set {self.name!r} are; give seconds since 1970"
                )
        return found

    def _add(self, events: Mapping[int, Event]) -> tuple[AppendResult, dict[int, FedMemError]]:
        """Store interactions, but for those of users who have sent too many today."""
        attempt = self.connection.begin_nested()
        added, over = self._insert(list(events.values()))
        if not over:
            attempt.commit()
            return added, {}
        attempt.rollback()
        refused = {place: over[event.user_id] for place, event in events.items() if event.user_id in over}
        added, _ = self._insert([event for place, event in events.items() if place not in refused])
        return added, refused

    def _insert(self, events: Sequence[Event]) -> tuple[AppendResult, dict[str, FedMemError]]:
        """Insert what is new, and say which users have too many; nothing may stand where there are any."""
        connection, dataset_id = self.connection, self.dataset_id
        rows = deletions.without_deleted(connection, dataset_id, interactions.as_columns(events))
        users = set(rows.users)
        counted = self.most_per_day is not None
        before = feedback_days.count_rows(connection, dataset_id, users) if counted else {}
        if imports.under_way(connection, dataset_id):
            interactions.give_way(connection, dataset_id, rows)
        newest = interactions.newest_id(connection, dataset_id)
        new = interactions.add_interactions(connection, dataset_id, rows, newest)
        let_be_seen(connection, dataset_id, newest + len(rows))
        over = self._count_day(before, users) if counted else {}
        return AppendResult(new, len(rows) - new, len(events) - len(rows)), over

    def _count_day(self, before: Mapping[str, int], users: set[str]) -> dict[str, FedMemError]:
        assert self.most_per_day is not None, "only a limit is counted"
        after = feedback_days.count_rows(self.connection, self.dataset_id, users)
        more = {user: count - before.get(user, 0) for user, count in after.items() if count > before.get(user, 0)}
        over = feedback_days.add_to_day(self.connection, self.dataset_id, more, self.most_per_day, self.now)
        return {
            user: TooMuchError(
                f"user {user!r} would have {count:,} new events today, and {self.most_per_day:,} of one user are "
                "taken in a day: none of them was stored. Send them tomorrow, or import them from a file"
            )
            for user, count in over.items()
        }


def refusal(name: str, events: Sequence[Event], refused: Mapping[int, FedMemError]) -> FedMemError:
    """Make one error of those of several events, of which none is to be stored."""
    missing = sorted({events[place].item_id for place, error in refused.items() if isinstance(error, UnknownItemError)})
    if not missing:
        return next(iter(refused.values()))
    named = ", ".join(map(repr, missing[:NAMED])) + (f" and {len(missing) - NAMED} more" * (len(missing) > NAMED))
    return UnknownItemError(f"the data set {name!r} has no item {named}; nothing was stored. Put new items first.")


def _unstorable(event: Event) -> DataError | None:
    if not math.isfinite(event.timestamp):
        return DataError(f"{_described(event)} has the time {event.timestamp}; give seconds since 1970")
    if not event.user_id or "\0" in event.user_id:
        return DataError(f"{event.user_id!r} cannot name a user")
    return None


def _to_come(event: Event, now: float) -> DataError | None:
    """Refuse what has not happened yet, which would be the newest of its user until then: a wrong zone or unit."""
    if interactions.is_step(event.timestamp) or event.timestamp <= now + AHEAD:
        return None
    return DataError(
        f"{_described(event)} is of {_moment(event.timestamp)}, and it is {_moment(now)} here: more than "
        f"{AHEAD / 60:.0f} minutes ahead is no time of what has happened. Give seconds since 1970, or a time with its "
        "zone"
    )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _described(event: Event) -> str:
    return f"the event of user {event.user_id!r} on item {event.item_id!r}"
