"""Deletions of users that other machines may have made: what this one keeps besides runs, and may hold them, goes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from fedmem.errors import disk_error
from fedmem.storage.deletions import deletion_state
from fedmem.storage.engine import reading


@dataclass(frozen=True, eq=False)
class FollowedDeletions:
    """Notes in a file for which deletions everything was forgotten, so that a restart forgets nothing without need.

    Attributes:
        engine: the database.
        file: where that is noted; each kind of service has its own.
        forget: removes whatever may hold a deleted user.
    """

    engine: Engine
    file: Path
    forget: Callable[[], None]

    def look(self) -> None:
        """Forget, if users were deleted since the last look.

        Raises:
            StorageError: if the database cannot be used.
            CheckpointError: if something cannot be removed or noted; the next look tries again.
        """
        with reading(self.engine) as connection:
            state = repr(deletion_state(connection))
        try:
            if self.file.exists() and self.file.read_text(encoding="utf-8") == state:
                return
            self.forget()
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(state, encoding="utf-8")
        except OSError as error:
            raise disk_error(error, f"{self.file}: cannot be written ({error.strerror}): make room") from None
