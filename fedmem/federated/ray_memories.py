"""ActorMemories: what the clients of all actors remember, read and written as one store, for checkpoints."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.memory.memory_arrays import MemoryArrays

Users = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Asked = tuple[int, str, tuple[Any, ...]]


class ActorMemories:
    """The stores of actors; see ``MemoryStore``, which each of them has.

    Args:
        ask: asks actors by number at the same time, and returns their answers in that order.
        actors: how many there are.
        holder_of: tells which of them each client [C] belongs to.
        num_users: U.
        capacity: most entries M of a memory.
        dim: size D of the id embeddings.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Asked]], list[Any]],
        actors: int,
        holder_of: Callable[[Users], Users],
        num_users: int,
        capacity: int,
        dim: int,
    ) -> None:
        self._ask, self._actors, self._holder_of = ask, actors, holder_of
        self.num_users, self.capacity, self.dim = num_users, capacity, dim

    def clear(self) -> None:
        """Forget every memory."""
        self._ask([(number, "clear", ()) for number in range(self._actors)])

    def read(self, users: Users, round_number: int) -> MemoryArrays:
        """Read the memories of users [C] as they stood after a number of completed rounds."""
        found, rows_of = MemoryArrays.empty(len(users), self.capacity, self.dim), self._rows(users)
        asked = [(number, "read", (users[rows], round_number)) for number, rows in rows_of.items()]
        for rows, part in zip(rows_of.values(), self._ask(asked), strict=True):
            for name, values in vars(found).items():
                values[rows] = getattr(part, name)
        return found

    def write(self, users: Users, memories: MemoryArrays, handed_on: Counts, round_number: int) -> None:
        """Store what users [C] hold after a number of completed rounds, one or more."""
        self._ask(
            [
                (number, "write", (users[rows], memories.part(rows), handed_on[rows], round_number))
                for number, rows in self._rows(users).items()
            ]
        )

    def occupied(self, users: Users, round_number: int) -> Users:
        """Find those of the users [C] who hold anything after a number of completed rounds."""
        return self._found("occupied", users, round_number)

    def changed(self, users: Users, round_number: int) -> Users:
        """Find those of them whose memory that last round has written."""
        return self._found("changed", users, round_number)

    def all_handed_on(self, round_number: int) -> Counts:
        """Tell how many of their interactions all users [U] had handed on after a number of completed rounds."""
        asked = [(number, "all_handed_on", (round_number,)) for number in range(self._actors)]
        total: Counts = np.sum(self._ask(asked), axis=0)  # of others' clients an actor knows 0
        return total

    def _found(self, what: str, users: Users, round_number: int) -> Users:
        asked = [(number, what, (users[rows], round_number)) for number, rows in self._rows(users).items()]
        found: Users = users[np.isin(users, np.concatenate([users[:0], *self._ask(asked)]))]
        return found

    def _rows(self, users: Users) -> dict[int, Users]:
        """Tell which rows are those of each actor that has any."""
        holders = self._holder_of(users)
        return {number: np.flatnonzero(holders == number) for number in np.unique(holders).tolist()}
