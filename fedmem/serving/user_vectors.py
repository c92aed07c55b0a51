"""User vectors that were computed before, the most recently used ones. Lists are never kept: they follow from these."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.contracts.recommendations import StrategyName

CAPACITY = 10_000  # of 1 KB each at D_x = 192


@dataclass(frozen=True, eq=False)
class UserVector:
    """The user's side of the score, q_u [D_x], and how it came about."""

    query: npt.NDArray[np.float32]
    strategy: StrategyName


@dataclass(frozen=True)
class Known:
    """What a user vector depends on beside the model: who, and what of the history is known."""

    user_id: str
    length: int
    content: int

    @classmethod
    def of(cls, user_id: str, history: npt.NDArray[np.integer]) -> "Known":
        """The key of a user with this history (item indices)."""
        return cls(user_id, len(history), hash(history.tobytes()))


class UserVectors:
    """A bounded store, safe to use from several threads.

    Args:
        capacity: how many are kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[Known, UserVector] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, known: Known) -> UserVector | None:
        """The vector, or None."""
        with self._lock:
            found = self._kept.get(known)
            if found is not None:
                self._kept.move_to_end(known)
            return found

    def put(self, known: Known, vector: UserVector) -> None:
        """Keep a vector; the one not used for longest goes where there are too many."""
        with self._lock:
            self._kept[known] = vector
            self._kept.move_to_end(known)
            while len(self._kept) > self.capacity:
                self._kept.popitem(last=False)

    def forget(self, user_id: str) -> None:
        """Drop all of a user."""
        with self._lock:
            for known in [known for known in self._kept if known.user_id == user_id]:
                del self._kept[known]
