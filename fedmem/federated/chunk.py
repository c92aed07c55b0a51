"""A chunk of clients: the unit of work of a round."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedmem.data.client_dataset import ClientDataset
from fedmem.federated.local_steps import LocalStep, LocalSteps
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.memory.transitions import TransitionCounts


@dataclass(frozen=True, eq=False)
class Chunk:
    """C clients, those with long histories first: the unit of work of a round.

    Attributes:
        users: user indices [C].
        data: their training histories.
        memories: their memories, written in place.
        preference: their encoded preference texts, zero where there is none [C, D_t], or None.
        handed_on: how many of its interactions each client has handed on to the transition memory [C]; default none.
    """

    users: Sequence[int]
    data: Sequence[ClientDataset]
    memories: MemoryArrays
    preference: npt.NDArray[np.float32] | None = None
    handed_on: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if not len(self.handed_on):
            object.__setattr__(self, "handed_on", np.zeros(len(self.users), np.int64))

    def __len__(self) -> int:
        return len(self.users)

    @property
    def samples(self) -> npt.NDArray[np.int64]:
        """Training samples n_c [C]."""
        return np.array([len(data.history) for data in self.data])

    def part(self, clients: slice) -> "Chunk":
        """Take some of the clients; their memories are views of the same arrays."""
        preference = None if self.preference is None else self.preference[clients]
        memories, handed_on = self.memories.part(clients), self.handed_on[clients]
        return Chunk(self.users[clients], self.data[clients], memories, preference, handed_on)

    def new_transitions(self, window: int, *, bounded: bool = False) -> TransitionCounts:
        """Count the clients' transitions that they have not handed on yet; ``bounded`` as in ``TransitionCounts``."""
        histories, num_items = [data.history for data in self.data], self.data[0].num_items
        return TransitionCounts.of(histories, num_items, window, self.handed_on.tolist(), bounded=bounded)

    def singly(self) -> Iterator["Chunk"]:
        """Take the clients one at a time, each a chunk of one."""
        return (self.part(slice(row, row + 1)) for row in range(len(self)))

    def steps(self, local: LocalSteps, round_number: int) -> list[Iterator[LocalStep]]:
        """Draw every client's local steps of a round, each when it is asked for: there may be a million of them."""
        clients = zip(self.users, self.data, strict=True)
        return [local.draw(round_number, user, data) for user, data in clients]
