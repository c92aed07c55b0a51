"""Erasing people from what was trained."""

from collections.abc import Collection
from pathlib import Path

from fedmem.checkpoint import RunDirectory


def erase_memories(path: Path, user_ids: Collection[str]) -> None:
    """Empty these users' memories in every checkpoint of a run directory; where no run has begun, there are none.

    Raises:
        CheckpointError: naming every file that is damaged or cannot be written; all others were erased.
    """
    directory = RunDirectory(path)
    if directory.exists and user_ids:
        directory.erase_memories(user_ids)
