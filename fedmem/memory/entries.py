"""Entries of a client's memory, as values.

Frozen features are not copied into a memory: they are looked up by item index where they are needed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class MemoryEntries:
    """m entries of a memory, oldest first.

    Attributes:
        items: item indices [m].
        index: history index of each entry, its logical time [m].
        frequency: how often it was written [m].
        surprise: the largest surprise it was written with, in nats [m].
        id_embedding: its id embedding as last written [m, D].
    """

    items: IntArray
    index: IntArray
    frequency: IntArray
    surprise: FloatArray
    id_embedding: FloatArray

    def __len__(self) -> int:
        return len(self.items)

    def take(self, which: npt.NDArray[np.int64]) -> "MemoryEntries":
        """Take some of the entries, by position."""
        return MemoryEntries(*(values[which] for values in vars(self).values()))

    def last_of_each_item(self) -> "MemoryEntries":
        """Keep each item once, where it stands last in the history."""
        order = np.lexsort((-self.index, self.items))
        _, first = np.unique(self.items[order], return_index=True)
        return self.take(order[first])
