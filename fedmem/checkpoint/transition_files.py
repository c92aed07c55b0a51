"""The transition memory in checkpoints: what the clients had handed on, and how much of each client's history.

A checkpoint that builds on another holds only what was added since; both numbers stand in one file, so that a client is
taken out of it once, however often that is tried.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint.atomic_files import read_arrays, sync, write_arrays, writing
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.memory.transitions import TransitionCounts

HandedOn = npt.NDArray[np.int64]
FILE = "transitions.safetensors"


def write_transitions(folder: Path, counts: TransitionCounts, handed_on: HandedOn) -> None:
    """Write transitions, and how many interactions each user [U] has handed on, into the folder of a checkpoint."""
    write_arrays(folder / FILE, counts.to_arrays() | {"handed_on": handed_on.astype(np.int32)})


def read_transitions(folder: Path) -> TransitionCounts | None:
    """Read the transitions of a checkpoint's folder; None where there are none."""
    return TransitionCounts.from_arrays(read_arrays(folder / FILE)) if (folder / FILE).exists() else None


def read_handed_on(folder: Path) -> HandedOn | None:
    """Read how many interactions each user [U] had handed on; None where there is no transition memory."""
    return read_arrays(folder / FILE)["handed_on"].astype(np.int64) if (folder / FILE).exists() else None


def subtract(folder: Path, base: Path | None, dataset: FederatedDataset, window: int, users: Collection[int]) -> None:
    """Take users out of the transitions of a checkpoint, exactly.

    Args:
        folder: the checkpoint's.
        base: that of the checkpoint which it builds on, from which they are not taken out yet.
        dataset: the run's data.
        window: most steps of a transition.
        users: their indices.
    """
    counts, handed_on = read_transitions(folder), read_handed_on(folder)
    if counts is None or handed_on is None or not any(handed_on[user] for user in users):
        return
    before = None if base is None else read_handed_on(base)
    since = np.zeros_like(handed_on) if before is None else before
    for user in users:
        if handed_on[user] > since[user]:
            history = dataset.training_history(user)[: handed_on[user]]
            counts -= TransitionCounts.of([history], dataset.num_items, window, [int(since[user])])
    handed_on[list(users)] = 0
    write_transitions(folder, counts, handed_on)


def remove_transitions(folder: Path) -> list[Path]:
    """Remove the file of a checkpoint that cannot be read; what was removed."""
    path = folder / FILE
    if not path.exists():
        return []
    with writing(path):
        path.unlink()
        sync(folder)
    return [path]
