"""A chunk of clients: the unit of work of a round."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.data.client_dataset import ClientDataset
from fedmem.federated.local_steps import LocalStep, LocalSteps
from fedmem.memory.memory_arrays import MemoryArrays


@dataclass(frozen=True, eq=False)
class Chunk:
    """C clients, those with long histories first: the unit of work of a round.

    Attributes:
        users: user indices [C].
        data: their training histories.
        memories: their memories, written in place.
        preference: their encoded preference texts, zero where there is none [C, D_t], or None.
    """

    users: Sequence[int]
    data: Sequence[ClientDataset]
    memories: MemoryArrays
    preference: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def samples(self) -> npt.NDArray[np.int64]:
        """Training samples n_c [C]."""
        return np.array([len(data.history) for data in self.data])

    def part(self, clients: slice) -> "Chunk":
        """Take some of the clients; their memories are views of the same arrays."""
        preference = None if self.preference is None else self.preference[clients]
        return Chunk(self.users[clients], self.data[clients], self.memories.part(clients), preference)

    def singly(self) -> Iterator["Chunk"]:
        """Take the clients one at a time, each a chunk of one."""
        return (self.part(slice(row, row + 1)) for row in range(len(self)))

    def steps(self, local: LocalSteps, round_number: int) -> list[Iterator[LocalStep]]:
        """Draw every client's local steps of a round, each when it is asked for: there may be a million of them."""
        clients = zip(self.users, self.data, strict=True)
        return [local.draw(round_number, user, data) for user, data in clients]
