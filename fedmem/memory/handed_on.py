"""What clients have handed on to the transition memory, and how much of each one's history that is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.memory.count_sketch import alike
from fedmem.memory.transitions import TransitionCounts

History = npt.NDArray[np.integer[Any]]


@dataclass(eq=False)
class HandedOn:
    """A sum of transitions of which every client's part is known to the last count, so that it can be taken out.

    Attributes:
        counts: the sum.
        lengths: how many of their interactions the users have handed on [U].
    """

    counts: TransitionCounts
    lengths: npt.NDArray[np.int64]

    def completed(self, histories: Sequence[History], window: int) -> "HandedOn":
        """Make the sum in which every user has handed on all of these histories, which begin with what is in this one.

        Args:
            histories: by user index [U].
            window: most steps of a transition.
        """
        added = self._counted(histories, window, self.lengths.tolist())
        return HandedOn(self.counts + added, np.array([len(history) for history in histories], np.int64))

    def exchange(self, changes: Iterable[tuple[History, History]], window: int) -> None:
        """Count whole histories instead of others that were counted; only from where two differ is work done."""
        some = [(before, after, _common(before, after)) for before, after in changes]
        if some:
            before, after, since = zip(*some, strict=True)
            more = self._counted(after, window, since)
            self.counts = self.counts + more - self._counted(before, window, since)

    def subtract(self, user: int, history: History, window: int, since: int = 0, *, bounded: bool = False) -> None:
        """Take a user out.

        Args:
            user: the user's index.
            history: the training history, of which ``lengths[user]`` interactions were handed on.
            window: most steps of a transition.
            since: how many of them had been handed on before this sum began.
            bounded: whether they were counted so.
        """
        end = int(self.lengths[user])
        if end > since:
            self.counts -= self._counted([history[:end]], window, [since], bounded=bounded)
        self.lengths[user] = 0

    def _counted(
        self, histories: Sequence[History], window: int, since: Sequence[int], *, bounded: bool = False
    ) -> TransitionCounts:
        """Count histories in the form of the sum, pairs or the cells of a sketch."""
        found = TransitionCounts.of(histories, self.counts.num_items, window, since, bounded=bounded)
        return alike(found, self.counts)


def _common(one: History, other: History) -> int:
    """Count the items in which two histories begin alike."""
    shorter = min(len(one), len(other))
    differ = (one[:shorter] != other[:shorter]).nonzero()[0]
    return int(differ[0]) if len(differ) else shorter
