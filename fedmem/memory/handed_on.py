"""What clients have handed on to the transition memory, and how much of each one's history that is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.memory.transitions import TransitionCounts


@dataclass(eq=False)
class HandedOn:
    """A sum of transitions of which every client's part is known to the last count, so that it can be taken out.

    Attributes:
        counts: the sum.
        lengths: how many of their interactions the users have handed on [U].
    """

    counts: TransitionCounts
    lengths: npt.NDArray[np.int64]

    def subtract(self, user: int, history: npt.NDArray[np.integer[Any]], window: int, since: int = 0) -> None:
        """Take a user out.

        Args:
            user: the user's index.
            history: the training history, of which ``lengths[user]`` interactions were handed on.
            window: most steps of a transition.
            since: how many of them had been handed on before this sum began.
        """
        end = int(self.lengths[user])
        if end > since:
            self.counts -= TransitionCounts.of([history[:end]], self.counts.num_items, window, [since])
        self.lengths[user] = 0
