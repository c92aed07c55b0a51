"""What clients' memories are written with: surprising items or, as controls, random ones or the last."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import FedMemConfig
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.memory_arrays import MemoryArrays

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StepOutcome:
    """What a local step of C clients has shown, at P positions of each.

    Attributes:
        items: the targets, in the history's order [C, P].
        index: their history indices [C, P].
        chosen: which positions count [C, P].
        surprise: mean BPR loss of each, in nats [C, P].
        id_embedding: their id embeddings [C, P, D].
        last_index: each client's last history index [C].
        generator: makes a generator of a client's own, by its place among the C.
    """

    items: npt.NDArray[np.int32]
    index: npt.NDArray[np.int32]
    chosen: npt.NDArray[np.bool_]
    surprise: npt.NDArray[np.float32]
    id_embedding: npt.NDArray[np.float32]
    last_index: npt.NDArray[np.int64]
    generator: Callable[[int], np.random.Generator]

    def entries(self, client: int) -> MemoryEntries:
        """Return a client's chosen positions as entries of a memory, in their order."""
        chosen = self.chosen[client]
        columns = (self.items, self.index, np.ones_like(self.items), self.surprise, self.id_embedding)
        return MemoryEntries(*(values[client, chosen] for values in columns))


@dataclass(frozen=True)
class MemoryPolicy:
    """A policy by the name that configurations have for it.

    Attributes:
        write: changes the memories in place after a step; entries written, and entries that had to go for them, by
            client [C].
    """

    write: Callable[[MemoryArrays, StepOutcome, FedMemConfig], tuple[Counts, Counts]]


def surprising(memories: MemoryArrays, seen: StepOutcome, config: FedMemConfig) -> tuple[Counts, Counts]:
    """Write the items that pass the gate; of a full memory the entry of least utility goes."""
    return memories.update(
        config, seen.items, seen.index, seen.chosen, seen.surprise, seen.id_embedding, seen.last_index
    )


Choose = Callable[[MemoryEntries, int, np.random.Generator], npt.NDArray[np.int64]]


def replacing(choose: Choose) -> MemoryPolicy:
    """Make a policy that fills every memory anew from the whole history, whatever the surprise.

    ``choose`` takes the entries of a client's whole history, how many are wanted and a generator of the client's own;
    it names the positions of the chosen ones.
    """

    def write(memories: MemoryArrays, seen: StepOutcome, config: FedMemConfig) -> tuple[Counts, Counts]:
        written = np.zeros(len(memories), np.int64)
        for client in range(len(memories)):
            entries = seen.entries(client)
            wanted = min(config.memory_capacity, len(entries))
            chosen = entries.take(choose(entries, wanted, seen.generator(client)))
            memories.set_entries(client, chosen.last_of_each_item())
            written[client] = wanted
        return written, np.zeros_like(written)

    return MemoryPolicy(write)


MEMORY_POLICIES: Mapping[str, MemoryPolicy] = {
    "surprise": MemoryPolicy(surprising),
    "random": replacing(lambda entries, wanted, generator: generator.permutation(len(entries))[:wanted]),
    "last": replacing(lambda entries, wanted, generator: np.arange(len(entries) - wanted, len(entries))),
}
