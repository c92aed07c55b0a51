"""A client's transitions as the formula says them: a loop over all ordered pairs of its history."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from scipy import sparse

from fedmem.memory.transitions import UNIT, TransitionCounts


def pairs_of(history: Sequence[int], window: int, since: int = 0) -> Counter[tuple[int, int]]:
    """c(i, j) = Σ 1/(t − s) over s < t, t − s ≤ window, t ≥ since, of history[s] = i and history[t] = j."""
    found: Counter[tuple[int, int]] = Counter()
    for t, later in enumerate(history):
        for s, earlier in enumerate(history[:t]):
            if t - s <= window and t >= since:
                found[earlier, later] += Fraction(1, t - s)
    return found


def slow_counts(history: Sequence[int], num_items: int, window: int, since: int = 0) -> TransitionCounts:
    """The same as the message has it."""
    size = num_items + 1
    pairs = np.zeros((size, size), np.int64)
    for at, value in pairs_of(history, window, since).items():
        pairs[at] = int(value * UNIT)
    return TransitionCounts(sparse.csr_array(pairs), np.bincount(history[since:], minlength=size))
