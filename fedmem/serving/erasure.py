"""Erasing people from what was trained."""

from collections.abc import Collection
from pathlib import Path

from fedmem.checkpoint import RunDirectory


def erase_users(path: Path, user_ids: Collection[str]) -> list[Path]:
    """Erase these users from a run directory: memories, histories and ids; where no run has begun, there are none.

    Returns:
        Files that were damaged, and are removed because they may have held these users.

    Raises:
        CheckpointError: naming every file that cannot be read or written; all others were erased.
    """
    directory = RunDirectory(path)
    return directory.erase_users(user_ids) if directory.exists and user_ids else []
