"""What users did since a model took its snapshot of the data: the end of their histories, in memory."""

import bisect
from collections.abc import Iterable, Sequence

from fedmem.serving import Change
from fedmem.storage.catalogue_rows import InteractionRow

_Event = tuple[float, int, str]  # (timestamp, id, item id): a user's history is in this order


class NewInteractions:
    """By user, in the order of time. One thread at a time may add; any may read meanwhile.

    Args:
        after_id: the newest interaction that the snapshot holds.

    Attributes:
        after_id: the same.
        last_id: the newest that was seen.
    """

    def __init__(self, after_id: int) -> None:
        self.after_id = self.last_id = after_id
        self._events: dict[str, list[_Event]] = {}
        self._items: dict[str, tuple[str, ...]] = {}
        self._counted: dict[str, tuple[str, ...]] = {}
        self._uncounted: set[str] = set()

    def of(self, user_id: str) -> Sequence[str]:
        """Look up the item ids of a user's interactions, oldest first."""
        return self._items.get(user_id, ())

    def __contains__(self, user_id: object) -> bool:
        return user_id in self._items

    @property
    def users(self) -> Sequence[str]:
        """The ids of all of them."""
        return tuple(self._events)

    def has_until(self, user_id: str, until_id: int) -> bool:
        """Say whether anything that a user did up to an id is known."""
        return any(number <= until_id for _, number, _ in self._events.get(user_id, ()))

    def add(self, rows: Iterable[InteractionRow]) -> None:
        """Add more of them, in the order of their ids; those seen before are left out."""
        changed = set()
        for row in rows:
            if row.id > self.last_id:
                self.last_id = row.id
                bisect.insort(self._events.setdefault(row.user_id, []), (row.timestamp, row.id, row.item_id))
                changed.add(row.user_id)
        for user_id in changed:
            self._items[user_id] = tuple(item_id for _, _, item_id in self._events[user_id])
        self._uncounted |= changed

    @property
    def all_counted(self) -> bool:
        """Whether nothing has changed since ``take_changes``."""
        return not self._uncounted

    def take_changes(self) -> Sequence[Change]:
        """List, for the transitions, the users of whom more is known than the last time: what was then, what is now.

        One thread at a time, as for ``add``.
        """
        changes = [(user_id, self._counted.get(user_id, ()), self._items[user_id]) for user_id in self._uncounted]
        self._counted |= {user_id: now for user_id, _, now in changes}
        self._uncounted = set()
        return changes

    def forget(self, user_id: str, until_id: int) -> Sequence[str]:
        """Drop what a user did up to an id, and return what ``take_changes`` has told of the user last.

        One thread at a time, as for ``add``.
        """
        later = [event for event in self._events.pop(user_id, ()) if event[1] > until_id]
        if later:
            self._events[user_id] = later
            self._items[user_id] = tuple(item_id for _, _, item_id in later)
            self._uncounted.add(user_id)
        else:
            self._items.pop(user_id, None)
            self._uncounted.discard(user_id)
        return self._counted.pop(user_id, ())
