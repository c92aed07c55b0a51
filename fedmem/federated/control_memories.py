"""The control policies of what is remembered: random positions, or the last, whatever their surprise."""

import numpy as np

from fedmem.config import ExperimentConfig
from fedmem.memory.entries import MemoryEntries
from fedmem.randomness import numpy_generator


def control_entries(config: ExperimentConfig, user: int, round_number: int, entries: MemoryEntries) -> MemoryEntries:
    """What a client's memory becomes, from the entries of its whole history: at most its capacity, each item once."""
    n = min(config.fedmem.memory_capacity, len(entries))
    which = np.arange(len(entries) - n, len(entries))
    if config.fedmem.memory_policy == "random":
        rng = numpy_generator(config.seed, "random memory", round_number, user)
        which = rng.permutation(len(entries))[:n]
    return entries.take(which).last_of_each_item()
