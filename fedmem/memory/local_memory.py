"""LocalDynamicMemory: a client's bounded memory of surprising items. It never leaves the client.

Frozen features are not copied into it: they are looked up by item index where they are needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import FedMemConfig
from fedmem.memory.prototypes import Prototypes, distil
from fedmem.memory.utility import utility_by

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class FrozenItemBlocks:
    """Frozen item vectors by item index, for distilling: per block [I + 1, D_block] and mask [I + 1]."""

    vectors: Mapping[str, FloatArray]
    masks: Mapping[str, npt.NDArray[np.bool_]]


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
        """Some of the entries, by position."""
        return MemoryEntries(*(values[which] for values in vars(self).values()))

    def last_of_each_item(self) -> "MemoryEntries":
        """Each item once, where it stands last in the history."""
        order = np.lexsort((-self.index, self.items))
        _, first = np.unique(self.items[order], return_index=True)
        return self.take(order[first])


@dataclass(frozen=True)
class MemoryUpdate:
    """What one update did: entries written, and entries that had to go for them."""

    written: int
    evicted: int


class LocalDynamicMemory:
    """At most ``capacity`` surprising items of one client.

    Args:
        config: capacity, the gate and the weights of the utility.
        dim: size D of the id embeddings.
    """

    def __init__(self, config: FedMemConfig, dim: int) -> None:
        self.config = config
        self.global_memory: Prototypes | None = None
        capacity = config.memory_capacity
        self._slots: dict[int, int] = {}
        self._items = np.zeros(capacity, np.int32)
        self._index = np.zeros(capacity, np.int32)
        self._frequency = np.zeros(capacity, np.int32)
        self._surprise = np.zeros(capacity, np.float32)
        self._id_embedding = np.zeros((capacity, dim), np.float32)

    def __len__(self) -> int:
        return len(self._slots)

    def initialize_from_global(self, global_memory: Prototypes) -> None:
        """Start as a new user's memory: no entry of its own, the global abstract memory to read."""
        self._slots.clear()
        self.global_memory = global_memory

    def update(
        self, items: IntArray, index: IntArray, surprise: FloatArray, id_embedding: FloatArray, last_index: int
    ) -> MemoryUpdate:
        """Write the items that pass the gate, in the order given.

        Already there: frequency + 1, surprise = max, embedding refreshed. Full: the entry of least utility goes.

        Args:
            items: item indices [n].
            index: their history indices [n].
            surprise: mean BPR loss of each, in nats [n].
            id_embedding: their id embeddings [n, D].
            last_index: the client's last history index, from which an entry's age counts.
        """
        gated = np.flatnonzero(surprise >= self.threshold(surprise))
        worth = self._utilities(last_index)
        evicted = 0
        for row in gated:
            evicted += self._write(int(items[row]), int(index[row]), float(surprise[row]), worth, last_index)
            self._id_embedding[self._slots[int(items[row])]] = id_embedding[row]
        return MemoryUpdate(len(gated), evicted)

    def threshold(self, surprise: FloatArray) -> float:
        """The gate: the fixed threshold or, if configured, a quantile of these surprises."""
        quantile = self.config.surprise_quantile
        if quantile is None or not len(surprise):
            return self.config.surprise_threshold
        return float(np.quantile(surprise, quantile))

    def _utilities(self, last_index: int) -> npt.NDArray[np.float64]:
        n = len(self._slots)
        worth = np.full(len(self._items), np.inf)
        worth[:n] = utility_by(self.config, last_index - self._index[:n], self._frequency[:n])
        return worth

    def _write(self, item: int, index: int, surprise: float, worth: npt.NDArray[np.float64], last_index: int) -> bool:
        """Write one entry and refresh its utility in ``worth``; whether another had to go."""
        slot, evicted = self._slots.get(item), False
        if slot is None:
            slot, evicted = self._free_slot(worth)
            self._slots[item] = slot
            self._items[slot], self._index[slot] = item, index
            self._frequency[slot], self._surprise[slot] = 0, 0.0
        self._index[slot] = max(index, self._index[slot])
        self._frequency[slot] += 1
        self._surprise[slot] = max(surprise, float(self._surprise[slot]))
        worth[slot] = utility_by(self.config, last_index - self._index[slot], self._frequency[slot])
        return evicted

    def _free_slot(self, worth: npt.NDArray[np.float64]) -> tuple[int, bool]:
        """A slot for a new entry: an unused one, or that of the entry of least utility."""
        if len(self._slots) < len(self._items):
            return len(self._slots), False
        # Of equal utilities (a recency too old to count) the oldest goes: never by the slots' order, which a
        # restored memory does not keep.
        least = np.flatnonzero(worth == worth.min())
        slot = int(least[self._index[least].argmin()])
        del self._slots[int(self._items[slot])]
        return slot, True

    def entries(self) -> MemoryEntries:
        """All entries, oldest first."""
        n = len(self._slots)
        stored = MemoryEntries(
            self._items[:n], self._index[:n], self._frequency[:n], self._surprise[:n], self._id_embedding[:n]
        )
        return stored.take(np.lexsort((stored.items, stored.index)))

    def query(self, state: FloatArray | None = None, k: int | None = None, before: int | None = None) -> MemoryEntries:
        """The entries to attend to, chosen by the history and never by a target, oldest first.

        Args:
            state: the user's state [D]; needed when fewer than all entries are asked for.
            k: how many at most; None for all.
            before: only entries whose history index is below this (reading is causal); None for all.
        """
        found = self.entries()
        if before is not None:
            found = found.take(np.flatnonzero(found.index < before))
        if k is None or k >= len(found):
            return found
        if state is None:
            raise ValueError(f"query of the best {k} of {len(found)} entries needs the user's state")
        best = np.argsort(-(found.id_embedding @ state), kind="stable")[:k]
        return found.take(np.sort(best))

    def extract_prototypes(self, start: Prototypes, features: FrozenItemBlocks) -> Prototypes:
        """Distil the memory into K (sum, count) pairs per block, by k-means from the prototypes handed down."""
        found = self.entries()
        blocks: dict[str, FloatArray] = {b: v[found.items] for b, v in features.vectors.items()}
        masks = {b: m[found.items] for b, m in features.masks.items()}
        blocks["id"], masks["id"] = found.id_embedding, np.ones(len(found), bool)
        return distil(blocks, masks, start)

    def restore(self, entries: MemoryEntries) -> None:
        """Become a memory that holds exactly these entries (from a checkpoint).

        Raises:
            ValueError: if they exceed the capacity.
        """
        n = len(entries)
        if n > len(self._items):
            raise ValueError(f"{n} stored entries exceed memory_capacity = {len(self._items)}")
        assert len(np.unique(entries.items)) == n, "an item has one entry"
        self._slots = {int(item): slot for slot, item in enumerate(entries.items)}
        self._items[:n], self._index[:n], self._frequency[:n] = entries.items, entries.index, entries.frequency
        self._surprise[:n], self._id_embedding[:n] = entries.surprise, entries.id_embedding
