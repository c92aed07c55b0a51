"""The items that a model version can recommend: those it was trained with and, behind them, new ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from fedmem.data.interactions import Item
from fedmem.errors import ConfigError, UnknownItemError

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]
KEPT_GENRES = 64  # whose columns are kept, of a byte for each item


@dataclass(frozen=True, eq=False)
class ServedCatalogue:
    """Items by index 1..n; the first ``trained`` of them are the snapshot's.

    Attributes:
        items: ``items[i - 1]`` has index i.
        trained: how many were there in training.
    """

    items: tuple[Item, ...]
    trained: int
    _index: dict[str, int] = field(init=False, repr=False)
    _outside: Callable[[str], BoolArray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {item.item_id: index for index, item in enumerate(self.items, start=1)})
        object.__setattr__(self, "_outside", lru_cache(KEPT_GENRES)(partial(_outside, self.items)))

    def __len__(self) -> int:
        return len(self.items)

    def index(self, item_id: str) -> int:
        """The index of an item id.

        Raises:
            UnknownItemError: if there is no such item.
        """
        try:
            return self._index[item_id]
        except KeyError:
            raise UnknownItemError(
                f"the model in service knows no item {item_id!r}; put it with a title and a text, or train again"
            ) from None

    def item(self, index: int) -> Item:
        """The item of an index in 1..n."""
        return self.items[index - 1]

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._index

    def indices(self, item_ids: Iterable[str]) -> tuple[IntArray, list[str]]:
        """The indices of the ids that there are, in order, and the ids that there are not."""
        get = self._index.get
        asked = list(item_ids)
        found = [get(item_id, 0) for item_id in asked]
        unknown = [item_id for item_id, index in zip(asked, found, strict=True) if not index] if 0 in found else []
        return np.array([index for index in found if index], np.int32), unknown

    def outside(self, category: str) -> BoolArray:
        """Which columns [n + 1] are not of this genre; the padding column is not.

        Raises:
            ConfigError: if no item has this genre.
        """
        return self._outside(category)

    def with_items(self, items: Sequence[Item]) -> "ServedCatalogue":
        """The catalogue with these items in their old places or, if they are new, at the end."""
        placed = list(self.items)
        for item in items:
            if item.item_id in self._index:
                placed[self._index[item.item_id] - 1] = item
            else:
                placed.append(item)
        return ServedCatalogue(tuple(placed), self.trained)


def _outside(items: Sequence[Item], category: str) -> BoolArray:
    inside = np.array([False, *(category in item.genres for item in items)])
    if not inside.any():
        raise ConfigError(f"category = {category!r}: no item has this genre{_nearest(items, category)}")
    return ~inside


def _nearest(items: Sequence[Item], category: str) -> str:
    genres = sorted({genre for item in items for genre in item.genres})
    close = get_close_matches(category, genres, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f"; there are {', '.join(genres[:20])}" if genres else "; this catalogue has no genres"
