"""The memories of many clients as arrays, written for all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import FedMemConfig
from fedmem.memory.entries import FloatArray, IntArray, MemoryEntries
from fedmem.memory.utility import utility_by

Integers = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MemoryArrays:
    """The memories of C clients, of at most M entries each: a client's entries oldest first, then zeros.

    Attributes:
        items: item indices, 0 where there is no entry [C, M].
        index: history index of each entry, its logical time [C, M].
        frequency: how often it was written [C, M].
        surprise: the largest surprise it was written with, in nats [C, M].
        id_embedding: its id embedding as last written [C, M, D].
    """

    items: IntArray
    index: IntArray
    frequency: IntArray
    surprise: FloatArray
    id_embedding: FloatArray

    @classmethod
    def empty(cls, clients: int, capacity: int, dim: int) -> "MemoryArrays":
        """Make memories that hold nothing."""
        items, index, frequency = (np.zeros((clients, capacity), np.int32) for _ in range(3))
        surprise = np.zeros((clients, capacity), np.float32)
        return cls(items, index, frequency, surprise, np.zeros((clients, capacity, dim), np.float32))

    @classmethod
    def of(cls, memories: Sequence[MemoryEntries], capacity: int, dim: int) -> "MemoryArrays":
        """Make memories that hold the given entries, one client each."""
        arrays = cls.empty(len(memories), capacity, dim)
        for client, entries in enumerate(memories):
            arrays.set_entries(client, entries)
        return arrays

    def __len__(self) -> int:
        return len(self.items)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """How many entries each client has [C]."""
        used: npt.NDArray[np.int64] = (self.items > 0).sum(1)
        return used

    def entries(self, client: int) -> MemoryEntries:
        """Copy a client's entries, oldest first."""
        n = np.count_nonzero(self.items[client])
        return MemoryEntries(*(values[client, :n].copy() for values in vars(self).values()))

    def set_entries(self, client: int, entries: MemoryEntries) -> None:
        """Make a client's memory hold exactly these entries.

        Raises:
            ValueError: if they exceed the capacity.
        """
        n, capacity = len(entries), self.items.shape[1]
        if n > capacity:
            raise ValueError(f"{n} entries exceed memory_capacity = {capacity}")
        assert len(np.unique(entries.items)) == n, "an item has one entry"
        oldest_first = entries.take(np.lexsort((entries.items, entries.index)))
        for name, values in vars(self).items():
            values[client, :n] = getattr(oldest_first, name)
            values[client, n:] = 0

    def clear(self) -> None:
        """Make every memory hold nothing."""
        for values in vars(self).values():
            values[:] = 0

    def part(self, clients: slice | Integers) -> "MemoryArrays":
        """Take some clients' memories, those of a slice as views."""
        return MemoryArrays(*(values[clients] for values in vars(self).values()))

    def update(
        self,
        config: FedMemConfig,
        items: IntArray,
        index: IntArray,
        chosen: Mask,
        surprise: npt.NDArray[np.floating],
        id_embedding: npt.NDArray[np.floating],
        last_index: Integers,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Write each client's chosen items that pass its gate, in the order given.

        Already there: frequency + 1, surprise = max, embedding refreshed. Full: the entry of least utility goes.

        Args:
            config: the gate and the weights of the utility; the capacity is that of the arrays.
            items: item indices, in the order of their writing [C, P].
            index: their history indices [C, P].
            chosen: which positions count [C, P].
            surprise: mean BPR loss of each, in nats [C, P].
            id_embedding: their id embeddings [C, P, D].
            last_index: each client's last history index, from which an entry's age counts [C].

        Returns:
            Entries written, and entries that had to go for them, by client [C].
        """
        gated = chosen & (surprise >= thresholds(config, surprise, chosen))
        written = gated.sum(1)
        clients = np.argsort(-written, kind="stable")  # so that clients that have an n-th write come first
        positions = np.argsort(~gated[clients], axis=1, kind="stable")
        writing = _Writing(self, clients, config, last_index)
        for n in range(written.max(initial=0)):
            position = positions[: np.count_nonzero(written > n), n]
            at = clients[: len(position)], position
            writing.write(position, items[at], index[at], surprise[at])
        evicted = np.zeros_like(written)
        evicted[clients] = writing.evicted
        self._become(writing, clients, id_embedding)
        return written, evicted

    def _become(self, writing: "_Writing", clients: Integers, id_embedding: npt.NDArray[np.floating]) -> None:
        """Take over what was written, oldest first; embeddings are copied now, and only those that stayed."""
        row, slot = np.nonzero(writing.position >= 0)
        self.id_embedding[clients[row], slot] = id_embedding[clients[row], writing.position[row, slot]]
        order = np.lexsort((writing.items, writing.index, writing.items == 0), axis=1)
        for name in ("items", "index", "frequency", "surprise"):
            getattr(self, name)[clients] = np.take_along_axis(getattr(writing, name), order, axis=1)
        self.id_embedding[clients] = self.id_embedding[clients[:, None], order]


class _Writing:
    """The memories [C, M] of some clients in a given order while they are written."""

    def __init__(self, memories: MemoryArrays, clients: Integers, config: FedMemConfig, last_index: Integers) -> None:
        self.config, self.last_index = config, last_index[clients]
        self.items, self.index = memories.items[clients], memories.index[clients]
        self.frequency, self.surprise = memories.frequency[clients], memories.surprise[clients]
        worth = utility_by(self.config, self.last_index[:, None] - self.index, self.frequency)
        self.worth = np.where(self.items > 0, worth, -np.inf)  # an unused slot goes first
        self.position = np.full(self.items.shape, -1)  # of the last write of each entry
        self.evicted = np.zeros(len(clients), np.int64)
        # Views in which one number names client and slot: five times faster to index.
        columns = self.items, self.index, self.frequency, self.surprise, self.worth, self.position
        self._flat = [values.reshape(-1) for values in columns]
        self._first_slot = np.arange(len(clients)) * self.items.shape[1]

    def write(self, position: Integers, item: IntArray, index: IntArray, surprise: npt.NDArray[np.floating]) -> None:
        """Write once for each of the first n clients: positions, items, history indices and surprises [n]."""
        n, first = len(item), self._first_slot[: len(item)]
        items, indices, frequencies, surprises, worths, positions = self._flat
        at = first + (self.items[:n] == item[:, None]).argmax(1)
        known = items[at] == item
        at = np.where(known, at, first + self._least(n))
        self.evicted[:n] += ~known & (items[at] > 0)
        items[at], positions[at] = item, position
        indices[at] = index = np.maximum(indices[at] * known, index)
        frequencies[at] = frequency = frequencies[at] * known + 1
        surprises[at] = np.maximum(surprises[at] * known, surprise)
        worths[at] = utility_by(self.config, self.last_index[:n] - index, frequency)

    def _least(self, n: int) -> npt.NDArray[np.int64]:
        """Find the slots of least utility, the oldest of equals, of the first n clients."""
        worth = self.worth[:n]
        least = worth == worth.min(1, keepdims=True)
        oldest: npt.NDArray[np.int64] = np.where(least, self.index[:n], np.iinfo(np.int32).max).argmin(1)
        return oldest


def thresholds(config: FedMemConfig, surprise: npt.NDArray[np.floating], chosen: Mask) -> npt.NDArray[np.floating]:
    """Find each client's gate [C, 1]: the fixed threshold or, if configured, a quantile of its chosen surprises."""
    found = np.full((len(surprise), 1), config.surprise_threshold, surprise.dtype)
    if config.surprise_quantile is not None:
        for client in np.flatnonzero(chosen.any(1)):
            found[client] = np.quantile(surprise[client, chosen[client]], config.surprise_quantile)
    return found
