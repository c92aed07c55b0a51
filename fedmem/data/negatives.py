"""Negative items: uniform over the catalogue without the user's own training history."""

import numpy as np
import numpy.typing as npt

from fedmem.errors import DataError


def sample_negatives(
    history: npt.NDArray[np.int32], num_items: int, n: int, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Draw n items [n] uniformly, with replacement, from 1..I without the items of ``history``.

    Exact and without rejection: a rank among the allowed items is drawn, then moved past the excluded ones below it.
    ``DataError`` if the history covers the whole catalogue.
    """
    excluded = np.unique(history)
    num_allowed = num_items - len(excluded)
    if num_allowed <= 0:
        raise DataError(
            f"the history covers all {num_items} items, so no negative can be drawn: such a user cannot train"
        )
    ranks = rng.integers(0, num_allowed, size=n)
    allowed_below = excluded - 1 - np.arange(len(excluded))
    return (ranks + 1 + np.searchsorted(allowed_below, ranks, side="right")).astype(np.int32)
