"""Erasing people from what was trained."""

from collections.abc import Collection
from pathlib import Path

from fedmem.checkpoint import RunDirectory


def erase_memories(path: Path, user_ids: Collection[str]) -> list[Path]:
    """Empty these users' memories in every checkpoint of a run directory; where no run has begun, there are none.

    Returns:
        Files that were damaged, and are removed because they may have held these users.

    Raises:
        CheckpointError: naming every file that cannot be read or written; all others were erased.
    """
    directory = RunDirectory(path)
    return directory.erase_memories(user_ids) if directory.exists and user_ids else []
