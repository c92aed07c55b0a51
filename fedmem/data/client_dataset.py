"""One client's own training data: its history, cut into segments, and negatives against it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.data.negatives import sample_negatives

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Segments:
    """S pieces of one history: row s holds the items at history positions start[s] .. start[s] + length[s] - 1.

    ``items`` [S, L+1] is right-padded with 0; column j is the target of the position whose context is columns < j.
    """

    items: IntArray
    start: IntArray
    length: IntArray


@dataclass(frozen=True, eq=False)
class ClientDataset:
    """The training history [n] (item indices in time order) that stays on one client."""

    history: IntArray
    num_items: int

    def segments(self, max_seq_len: int, crop_probability: float, rng: np.random.Generator) -> Segments:
        """Cut the history into segments of at most L+1 items; every position is a target exactly once.

        A longer history is cut every L+1 items from a random offset; with ``crop_probability`` a segment is cut once
        more at a uniformly drawn inner point, so that what follows starts with an empty context.
        """
        edges = _segment_edges(len(self.history), max_seq_len + 1, rng)
        if crop_probability > 0:
            edges = _cropped(edges, crop_probability, rng)
        return self._cut(edges, max_seq_len + 1)

    def negatives(self, n: int, rng: np.random.Generator) -> IntArray:
        """Draw n items [n] uniformly from 1..I without the training history (validation and test may be drawn)."""
        return sample_negatives(self.history, self.num_items, n, rng)

    def _cut(self, edges: npt.NDArray[np.int64], width: int) -> Segments:
        start, length = edges[:-1], np.diff(edges)
        columns = np.arange(width)
        inside = columns < length[:, None]  # [S, L+1]
        items = np.zeros(inside.shape, dtype=np.int32)
        items[inside] = self.history  # segments are in history order and cover it without gaps
        return Segments(items, start.astype(np.int32), length.astype(np.int32))


def _segment_edges(n: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw boundaries 0 = e_0 < .. < e_S = n, at most ``width`` apart."""
    if n == 0:
        return np.zeros(1, dtype=np.int64)
    offset = int(rng.integers(width)) if n > width else 0
    return np.unique(np.concatenate([[0], np.arange(offset, n, width), [n]]))


def _cropped(edges: npt.NDArray[np.int64], probability: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Add to each segment, with the given probability, one uniformly drawn inner boundary."""
    length = np.diff(edges)
    # A segment of one item has no inner point: its draw is 1, which is the boundary it already ends with.
    inner = edges[:-1] + rng.integers(1, np.maximum(length, 2))
    chosen = rng.random(len(length)) < probability
    return np.union1d(edges, inner[chosen])
