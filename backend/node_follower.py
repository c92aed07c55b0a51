"""NodeFollower: a node's data and its copy of the model are read anew as they change, without a restart."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.served_model import ServedModel
from backend.served_models import ServedModels

LOG = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int, int], ...]  # of every file: name, inode, size, time of its last change


@dataclass(eq=False)
class NodeFollower:
    """Serves what the files hold now.

    Attributes:
        read: makes the model of them; whatever it raises leaves the one before in service.
        watched: the files, and folders with all that is in them.
        model: what they held when ``stamp`` was taken; it is in service.
        stamp: their state then.
    """

    read: Callable[[], ServedModel]
    watched: Sequence[Path]
    model: ServedModel
    stamp: Stamp
    _seen: Stamp = ()

    @classmethod
    def begun(cls, read: Callable[[], ServedModel], watched: Sequence[Path]) -> "NodeFollower":
        """Read the files for the first time."""
        stamp = _stamp_of(watched)  # before: what changes while they are read is seen at the next look
        return cls(read, watched, read(), stamp)

    def look(self, served: ServedModels) -> None:
        """Read the files anew if they have changed, and not since the last look: who writes them may not be done."""
        now = _stamp_of(self.watched)
        changing, self._seen = now != self._seen, now
        if now == self.stamp or changing:
            return
        self.stamp = now  # what cannot be read now can be after its next change
        try:
            self.model = self.read()
        except Exception as error:
            LOG.error("the node's files have changed and cannot be read; the model before goes on: %s", error)
            return
        served.swap(self.model)
        LOG.info("the node's files have changed: serving %s with them", self.model.version)


def _stamp_of(watched: Sequence[Path]) -> Stamp:
    return tuple(sorted(found for path in watched for found in _stamps(path)))


def _stamps(path: Path) -> Iterator[tuple[str, int, int, int]]:
    """Look at a file, or at all in a folder; one that goes away meanwhile is not there."""
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        try:
            found = each.stat()
        except FileNotFoundError:
            continue
        if not each.is_dir():
            yield str(each), found.st_ino, found.st_size, found.st_mtime_ns
