"""The cache of user vectors, the most recently used ones. Lists are never kept: they follow from these."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple
from weakref import ReferenceType

import numpy as np
import numpy.typing as npt

from fedmem.contracts.recommendations import StrategyName
from fedmem.memory.kin import Kin
from fedmem.memory.transitions import RememberedScores, TransitionTable

CAPACITY = 5_000  # of 1 KB each at D_x = 192, and of up to 24 KB with the transition memory


@dataclass(frozen=True, eq=False)
class UserVector:
    """The user's side of the score, and how it came about.

    Attributes:
        query: the dense part, q_u [D_x].
        strategy: what it was made from.
        remembered: the sparse part, of the transition memory, times its weight; None without one.
        table: the rows that it was read from, of which others may be in service by now; they are not kept alive.
        kin: of newer items, likewise.
    """

    query: npt.NDArray[np.float32]
    strategy: StrategyName
    remembered: RememberedScores | None = None
    table: "ReferenceType[TransitionTable] | None" = None
    kin: "ReferenceType[Kin] | None" = None

    def was_read_from(self, table: TransitionTable | None, kin: Kin | None) -> bool:
        """Say whether these are the rows, and this the kin of newer items, that the sparse part was read from."""
        if (None if self.table is None else self.table()) is not table:
            return False
        return table is None or (None if self.kin is None else self.kin()) is kin


class VectorKey(NamedTuple):
    """What a user vector depends on besides the model: the user, and what of the history is known."""

    user_id: str
    length: int
    content: int

    @classmethod
    def of(cls, user_id: str, history: npt.NDArray[np.integer]) -> "VectorKey":
        """Make the key of a user with this history (item indices)."""
        return cls(user_id, len(history), hash(history.tobytes()))


class Slot(NamedTuple):
    """Where a vector is kept: its key, and how many users had been forgotten when its computation began."""

    key: VectorKey
    forgotten: int


class UserVectorCache:
    """A bounded store, safe to use from several threads.

    Args:
        capacity: how many are kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[VectorKey, UserVector] = OrderedDict()
        self._forgotten = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: VectorKey) -> tuple[Slot, UserVector | None]:
        """Find the vector, or None, and where to put one."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return Slot(key, self._forgotten), found

    def put(self, slot: Slot, vector: UserVector) -> None:
        """Keep a vector, and drop the one not used for longest where there are too many.

        Not if a user was forgotten since the slot was found: the vector may be of what is to be forgotten.
        """
        with self._lock:
            if slot.forgotten != self._forgotten:
                return
            self._kept[slot.key] = vector
            self._kept.move_to_end(slot.key)
            while len(self._kept) > self.capacity:
                self._kept.popitem(last=False)

    def forget(self, user_id: str) -> None:
        """Drop all of a user, and what is being computed."""
        with self._lock:
            self._forgotten += 1
            for key in [key for key in self._kept if key.user_id == user_id]:
                del self._kept[key]
