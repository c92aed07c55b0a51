"""Generators derived from (seed, round, client): the only source of randomness in the project.

A generator is named by what it is for and by where it is used, so that no draw depends on how many draws came
before it elsewhere: the same seed gives the same numbers in one process or many, resumed or not.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def _entropy(seed: int, purpose: str, *path: int) -> list[int]:
    digest = hashlib.sha256(purpose.encode()).digest()
    return [seed, int.from_bytes(digest[:8], "little"), *path]


def numpy_generator(seed: int, purpose: str, *path: int) -> np.random.Generator:
    """Return the generator of one purpose at one place, e.g. ``numpy_generator(seed, "negatives", round, client)``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_entropy(seed, purpose, *path))))


def torch_generator(seed: int, purpose: str, *path: int) -> "torch.Generator":
    """Return the torch counterpart of ``numpy_generator`` (for weights, dropout)."""
    import torch  # slow to import, and the data package needs only numpy

    state = np.random.SeedSequence(_entropy(seed, purpose, *path)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
