"""After which round each client's transitions were first among those of all: with the histories, how a row has grown.

A client hands on its whole training history when it first takes part, so that one number of each says it for all.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint.atomic_files import read_arrays, reading, write_arrays
from fedmem.errors import CheckpointError

FILE = "first-rounds.safetensors"
Rounds = npt.NDArray[np.int64]


def note_first_rounds(folder: Path, round_number: int, handed_on: Rounds) -> None:
    """Note which users [U] have handed anything on for the first time by the end of a round.

    What was noted of this round or later ones, before a crash, is forgotten. Nothing is written where nothing is new.
    """
    try:
        before = read_first_rounds(folder)
    except CheckpointError:  # training does not need it
        before = None
    before = np.zeros(len(handed_on), np.int64) if before is None else before
    first = np.where(before < round_number, before, 0)
    first[(first == 0) & (handed_on > 0)] = round_number
    if not np.array_equal(first, before):
        write_arrays(folder / FILE, {"first_round": first.astype(np.int32)})


def read_first_rounds(folder: Path) -> Rounds | None:
    """Read after which round each user [U] had first handed anything on, 0 for not yet; None if it was never noted.

    Raises:
        CheckpointError: if the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    with reading(path):
        return read_arrays(path)["first_round"].astype(np.int64)
