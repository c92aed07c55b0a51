"""Items that were never taken have no column in the transition memory: until they have one, they have their kin's."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.memory.transitions import FloatArray, IntArray, RememberedScores, TransitionTable


@dataclass(frozen=True, eq=False)
class Kin:
    """The counted items that each newer one is most like.

    A newer item j follows what they follow: c(i, j) = Σ_k w_jk · c(i, k), over its kin k.

    Attributes:
        items: the kin of each of C newer items, whose indices come after the I counted ones [C, K].
        weights: w, which add up to 1, or 0 for an item that is like none [C, K].
    """

    items: npt.NDArray[np.int64]
    weights: FloatArray

    def extended(self, read: RememberedScores, num_items: int) -> RememberedScores:
        """Add the newer items' scores to those of the I = ``num_items`` counted ones."""
        new: FloatArray = (read.of(self.items.ravel()).reshape(self.items.shape) * self.weights).sum(axis=1)
        if read.items is None:
            return RememberedScores(np.concatenate([read.scores[:-1], new, read.scores[-1:]]))
        found = new.nonzero()[0]
        return RememberedScores(
            np.concatenate([read.scores, new[found]]), np.concatenate([read.items, found + num_items + 1])
        )

    def reasons(self, table: TransitionTable, history: IntArray, found: IntArray) -> tuple[IntArray, FloatArray]:
        """Split scores as ``TransitionTable.reasons`` does, those of newer items too."""
        items, added = table.reasons(history, found)
        for place in (found >= len(table.items)).nonzero()[0]:
            new = found[place] - len(table.items)
            added[:, place] = table.reasons(history, self.items[new])[1] @ self.weights[new]
        return items, added
