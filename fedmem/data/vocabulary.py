"""Raw ids to row numbers and back; index 0 of the items is padding."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from fedmem.errors import DataError, UnknownUserError

ERASED = "\0erased "  # begins the place of an erased user's id; no id holds this character


def sorted_ids(raw_ids: Iterable[str]) -> tuple[str, ...]:
    """Sort distinct ids in numeric order if every one is a whole number, else in lexicographic order."""
    distinct = set(raw_ids)
    if all(raw.isascii() and raw.isdecimal() for raw in distinct):
        return tuple(sorted(distinct, key=lambda raw: (int(raw), raw)))
    return tuple(sorted(distinct))


@dataclass(frozen=True)
class Vocabulary:
    """The data set's ids: ``users[u]`` has index u, ``items[i - 1]`` has index i in 1..I."""

    users: tuple[str, ...]
    items: tuple[str, ...]

    def __post_init__(self) -> None:
        assert len(self._item_indices) == len(self.items), "item ids repeat"
        assert len(self._user_indices) == len(self.users), "user ids repeat"

    @classmethod
    def from_ids(cls, users: Iterable[str], items: Iterable[str]) -> "Vocabulary":
        """Make the vocabulary of these ids, in an order that depends on the ids alone."""
        return cls(sorted_ids(users), sorted_ids(items))

    @property
    def num_users(self) -> int:
        """U."""
        return len(self.users)

    @property
    def num_items(self) -> int:
        """I, without the padding."""
        return len(self.items)

    def without_users(self, indices: Iterable[int]) -> "Vocabulary":
        """Put what can be no id in the place of these users' ids, so that no other user's index changes."""
        users = list(self.users)
        for index in indices:
            users[index] = f"{ERASED}{index}"
        return Vocabulary(tuple(users), self.items)

    @property
    def known_users(self) -> tuple[str, ...]:
        """The ids of all users who were not erased."""
        return tuple(user for user in self.users if not user.startswith(ERASED))

    def item_index(self, raw: str) -> int:
        """Index in 1..I of a raw item id; ``DataError`` if the data set has no such item."""
        try:
            return self._item_indices[raw]
        except KeyError:
            raise DataError(
                f"the data set has no item {raw!r}; it has {self.num_items} items{_example(self.items)}"
            ) from None

    def user_index(self, raw: str) -> int:
        """Index in 0..U-1 of a raw user id; ``UnknownUserError`` if the data set has no such user."""
        try:
            return self._user_indices[raw]
        except KeyError:
            message = f"the data set has no user {raw!r}; it has {self.num_users} users{_example(self.users)}"
            raise UnknownUserError(message) from None

    def find_user(self, raw: str) -> int | None:
        """Return what ``user_index`` does, or None for an unknown user."""
        return self._user_indices.get(raw)

    def item_id(self, index: int) -> str:
        """Return the raw id of an item index in 1..I."""
        if not 1 <= index <= self.num_items:
            raise DataError(f"item index {index} is outside 1..{self.num_items} (0 is padding)")
        return self.items[index - 1]

    def user_id(self, index: int) -> str:
        """Return the raw id of a user index in 0..U-1."""
        if not 0 <= index < self.num_users:
            raise UnknownUserError(f"user index {index} is outside 0..{self.num_users - 1}")
        return self.users[index]

    @cached_property
    def _item_indices(self) -> dict[str, int]:
        return {raw: index for index, raw in enumerate(self.items, start=1)}

    @cached_property
    def _user_indices(self) -> dict[str, int]:
        return {raw: index for index, raw in enumerate(self.users)}


def _example(ids: tuple[str, ...]) -> str:
    return f", such as {ids[0]!r}" if ids else ""
