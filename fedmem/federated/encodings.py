"""How what is added up securely is written as words: by the clients that mask it, and by the server that reads sums."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fedmem.config import SecureSumsConfig
from fedmem.errors import ConfigError, TrainingError
from fedmem.memory.transitions import TransitionCounts
from fedmem.secure_sums.fixed_point import FixedPoint

Words = npt.NDArray[np.unsignedinteger[Any]]

GREATEST_NUMBER = 2.0**30  # of weights, counts, prototypes' sums and metrics of one client
MOST_ITEMS = 8_000  # whose pairs, 4 bytes each, a client masks: 256 MB


def parameters_point(config: SecureSumsConfig, clients: int) -> FixedPoint:
    """Return the fixed point of updates of so many clients."""
    return FixedPoint(config.bits, config.clip, clients)


def numbers_point(clients: int) -> FixedPoint:
    """Return the fixed point of all other real numbers."""
    return FixedPoint(64, GREATEST_NUMBER, clients)


def add_transitions(words: Words | None, counts: TransitionCounts, clients: int) -> Words:
    """Add a client's counts to a block of all pairs, or cells, with the numbers taken behind it, in place.

    Words are [(I + 1)² + I + 1] of pairs, [d · w + I + 1] of a sketch.

    Raises:
        TrainingError: if one of them is so large that the sum over so many clients might run over.
    """
    pairs, size = counts.pairs.tocoo(), math.prod(counts.pairs.shape)
    largest = int(max(np.abs(pairs.data).max(initial=0), counts.taken.max(initial=0)))
    if largest * clients >= 2**31:
        raise TrainingError(
            f"a client counted a transition {largest:,} times, in parts of 1/2520, which a sum over {clients:,} "
            "clients cannot hold: lower data.max_history"
        )
    words = np.zeros(size + len(counts.taken), np.uint32) if words is None else words
    words[pairs.row.astype(np.int64) * counts.pairs.shape[1] + pairs.col] += pairs.data.astype(np.uint32)
    words[size:] += counts.taken.astype(np.uint32)
    return words


def transition_counts(words: Words, shape: tuple[int, int]) -> TransitionCounts:
    """Read the sum of such words; of pairs or cells of this shape."""
    size, columns = math.prod(shape), shape[1]
    place = np.flatnonzero(words[:size])
    counts = words[place].astype(np.int32).astype(np.int64)  # cells may be below zero
    pairs = sparse.coo_array((counts, (place // columns, place % columns)), shape=shape).tocsr()
    return TransitionCounts(pairs, words[size:].astype(np.int64))


def check_block(num_items: int) -> None:
    """Refuse to mask all pairs of too many items.

    Raises:
        ConfigError: naming the settings.
    """
    if num_items > MOST_ITEMS:
        raise ConfigError(
            f"secure_sums.enabled: each client would mask all pairs of {num_items:,} items, and that is done for "
            f"{MOST_ITEMS:,} items at most. Set transitions.sketch_bits, or ablation.disable_transitions"
        )
