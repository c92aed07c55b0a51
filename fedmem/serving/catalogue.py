"""The items that a model version can recommend: those it was trained with and, after them, new ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.contracts import Selection
from fedmem.data.interactions import Item
from fedmem.errors import UnknownItemError
from fedmem.serving.filters import FILTERS

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]
KEPT_FILTERS = 64  # whose columns are kept, of a byte for each item


@dataclass(frozen=True, eq=False)
class ServedCatalogue:
    """Items by index 1..n; the first ``trained`` of them are the snapshot's.

    Attributes:
        items: ``items[i - 1]`` has index i.
        trained: how many were there in training.
        hidden: ids of items that are not to be recommended, whatever is asked for.
    """

    items: tuple[Item, ...]
    trained: int
    hidden: frozenset[str] = frozenset()
    _index: dict[str, int] = field(init=False, repr=False)
    _outside: Callable[[str, Any], BoolArray] = field(init=False, repr=False)
    _unavailable: BoolArray | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", {item.item_id: index for index, item in enumerate(self.items, start=1)})
        object.__setattr__(self, "_outside", lru_cache(KEPT_FILTERS)(partial(_outside, self.items)))
        object.__setattr__(self, "_unavailable", _columns_of(self.items, self.hidden))

    def __len__(self) -> int:
        return len(self.items)

    def index(self, item_id: str) -> int:
        """Find the index of an item id.

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
        """Look up the item of an index in 1..n."""
        return self.items[index - 1]

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._index

    def indices(self, item_ids: Iterable[str]) -> tuple[IntArray, list[str]]:
        """Find the indices of the known ids, in order, and the unknown ids."""
        get = self._index.get
        asked = list(item_ids)
        found = [get(item_id, 0) for item_id in asked]
        unknown = [item_id for item_id, index in zip(asked, found, strict=True) if not index] if 0 in found else []
        return np.array([index for index in found if index], np.int32), unknown

    def outside(self, selection: Selection) -> BoolArray | None:
        """Find the columns [n + 1] that are hidden or that filters leave out, the padding column too; None for none.

        Raises:
            ConfigError: if a filter asks for what no item has.
        """
        given = [(name, value) for name in FILTERS if (value := getattr(selection, name)) not in (None, ())]
        columns = [self._outside(name, value) for name, value in given]
        if self._unavailable is not None:
            columns.append(self._unavailable)
        if not columns:
            return None
        return columns[0] if len(columns) == 1 else np.logical_or.reduce(columns)

    def with_items(self, items: Sequence[Item]) -> "ServedCatalogue":
        """Make the catalogue with these items in their old places or, if they are new, at the end."""
        placed = list(self.items)
        for item in items:
            if item.item_id in self._index:
                placed[self._index[item.item_id] - 1] = item
            else:
                placed.append(item)
        return replace(self, items=tuple(placed))

    def with_hidden(self, hidden: frozenset[str]) -> "ServedCatalogue":
        """Make the catalogue in which these items are hidden, and no others."""
        return replace(self, hidden=hidden)


def _columns_of(items: Sequence[Item], hidden: frozenset[str]) -> BoolArray | None:
    if not hidden:
        return None
    return np.array([True, *(item.item_id in hidden for item in items)], np.bool_)


def _outside(items: Sequence[Item], name: str, value: Any) -> BoolArray:
    return np.concatenate([[True], ~FILTERS[name](items, value)])
