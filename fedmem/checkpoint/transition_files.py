"""The transition memory in checkpoints. One that builds on another holds only what was added since.

Counts, and how much of each history they are of, stand in one file: a user is taken out once, even if tried twice.
"""

from pathlib import Path

import numpy as np

from fedmem.checkpoint.atomic_files import Array, read_arrays, write_arrays
from fedmem.memory.handed_on import HandedOn
from fedmem.memory.transitions import TransitionCounts

FILE = "transitions.safetensors"


def write_transitions(folder: Path, handed_on: HandedOn) -> None:
    """Write what was handed on into the folder of a checkpoint."""
    write_arrays(folder / FILE, handed_on.counts.to_arrays() | {"handed_on": handed_on.lengths.astype(np.int32)})


def read_transitions(folder: Path) -> HandedOn | None:
    """Read it from the folder of a checkpoint; None where there is no transition memory."""
    return handed_on_of(read_arrays(folder / FILE)) if (folder / FILE).exists() else None


def handed_on_of(arrays: dict[str, Array]) -> HandedOn:
    """Make of a file's arrays what was written."""
    return HandedOn(TransitionCounts.from_arrays(arrays), arrays["handed_on"].astype(np.int64))
