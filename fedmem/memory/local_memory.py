"""LocalDynamicMemory: a client's bounded memory of surprising items. It never leaves the client."""

from dataclasses import dataclass

import numpy as np

from fedmem.config import FedMemConfig
from fedmem.memory.entries import FloatArray, IntArray, MemoryEntries
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.memory.prototypes import FrozenItemBlocks, Prototypes, distil_chunk


@dataclass(frozen=True)
class MemoryUpdate:
    """What one update did: entries written, and entries that had to go for them."""

    written: int
    evicted: int


class LocalDynamicMemory:
    """At most ``memory_capacity`` surprising items of one client: one row of ``MemoryArrays``.

    Args:
        config: the gate and the weights of the utility.
        row: the arrays of this client alone [1, M], written in place.
    """

    def __init__(self, config: FedMemConfig, row: MemoryArrays) -> None:
        assert len(row) == 1, "a memory is one client's"
        self.config = config
        self.row = row
        self.global_memory: Prototypes | None = None

    @classmethod
    def empty(cls, config: FedMemConfig, dim: int) -> "LocalDynamicMemory":
        """Make a memory that holds nothing; D = ``dim`` is the size of the id embeddings."""
        return cls(config, MemoryArrays.empty(1, config.memory_capacity, dim))

    def __len__(self) -> int:
        return int(self.row.lengths[0])

    def initialize_from_global(self, global_memory: Prototypes | None) -> None:
        """Start as a new user's memory: no entry of its own, the global abstract memory, if there is one, to read."""
        self.row.clear()
        self.global_memory = global_memory

    def update(
        self, items: IntArray, index: IntArray, surprise: FloatArray, id_embedding: FloatArray, last_index: int
    ) -> MemoryUpdate:
        """Write the items that pass the gate, in the order given: ``MemoryArrays.update`` of one client.

        Args:
            items: item indices [n].
            index: their history indices [n].
            surprise: mean BPR loss of each, in nats [n].
            id_embedding: their id embeddings [n, D].
            last_index: the client's last history index, from which an entry's age counts.
        """
        chosen, last = np.ones((1, len(items)), bool), np.array([last_index])
        written, evicted = self.row.update(
            self.config, items[None], index[None], chosen, surprise[None], id_embedding[None], last
        )
        return MemoryUpdate(int(written[0]), int(evicted[0]))

    def entries(self) -> MemoryEntries:
        """Copy all entries, oldest first."""
        return self.row.entries(0)

    def query(self, state: FloatArray | None = None, k: int | None = None, before: int | None = None) -> MemoryEntries:
        """Choose the entries to attend to, by the history and never by a target, oldest first.

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
        minimum = self.config.minimum_cluster
        return distil_chunk(self.row.items, self.row.id_embedding, features, start, minimum).of_client(0)

    def restore(self, entries: MemoryEntries) -> None:
        """Become a memory that holds exactly these entries (from a checkpoint).

        Raises:
            ValueError: if they exceed the capacity.
        """
        self.row.set_entries(0, entries)
