"""A data folder taken into a backup while trainers write to it.

What trainers write is written beside its place and renamed, never changed: there a second name of the same file (a hard
link) costs no room and holds what was taken. Everything else is copied.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from fedmem.errors import disk_error
from fedmem.storage.copied_database import copy_sqlite

LINKED, DATABASES = "jobs", (".db", ".sqlite")
LEFT_OUT = ("logs", "uploads")  # what is told once, and files that are read once: they hold whoever is deleted later
CHECKPOINTS = "rounds"


class DataFolder:
    """Takes a data folder as it is, as often as it is asked.

    Args:
        source: the data folder.
        target: the same in the backup.
        left_out: files that are kept elsewhere: the database's.
        bring: called before each time, to bring what other machines have published.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        left_out: frozenset[Path] = frozenset(),
        bring: Callable[[], None] = lambda: None,
    ) -> None:
        self.source, self.target, self._left_out, self._bring = source, target, left_out, bring

    def take(self) -> None:
        """Take what is new or was replaced since the last time. What is gone meanwhile stays taken.

        Raises:
            CheckpointError: naming the file that cannot be read or written.
        """
        self._bring()
        try:
            self.target.mkdir(parents=True, exist_ok=True)
            for entry in _entries(self.source) if self.source.exists() else ():
                if entry.name not in LEFT_OUT:
                    self._take(entry, self.target / entry.name, link=entry.name == LINKED)
        except OSError as error:
            raise disk_error(
                error, f"{error.filename}: cannot be taken into the backup ({error.strerror}); nothing was changed"
            ) from None

    def _take(self, entry: "os.DirEntry[str]", target: Path, *, link: bool) -> None:
        try:
            if entry.is_dir(follow_symlinks=False):
                self._take_folder(entry, target, link=link)
            elif entry.is_file() and Path(entry.path).absolute() not in self._left_out:
                self._take_file(entry, target, link=link)
        except FileNotFoundError as error:
            if Path(str(error.filename)).is_relative_to(self.target):
                raise
            # else it was removed meanwhile: a trainer's checkpoint that it needs no more

    def _take_folder(self, entry: "os.DirEntry[str]", target: Path, *, link: bool) -> None:
        """Take a folder with all that is in it, or not at all: one that vanishes meanwhile is half empty."""
        there = target.exists()
        target.mkdir(exist_ok=True)
        for inner in _entries(entry.path):
            self._take(inner, target / inner.name, link=link)
        if not there and not _is_still(entry):
            shutil.rmtree(target)

    def _take_file(self, entry: "os.DirEntry[str]", target: Path, *, link: bool) -> None:
        now = entry.stat()
        if target.exists() and _same(now, target.stat()):
            return
        if entry.name.endswith(DATABASES):
            copy_sqlite(Path(entry.path), target)
            return
        target.unlink(missing_ok=True)
        if not (link and _linked(entry.path, target)):
            shutil.copy2(entry.path, target)

    def keep_only(self, checkpoints: frozenset[tuple[int, str]], begun: frozenset[int]) -> frozenset[tuple[int, str]]:
        """Remove what is newer than a database, and return the checkpoints that it names and are not taken.

        That is checkpoints that it does not name, and the snapshots of jobs that it does not know to have begun: such a
        job would take its snapshot for one that an earlier attempt left, and go on without its round 0.
        """
        for folder in self.target.glob(f"{LINKED}/[0-9]*"):
            if int(folder.name) not in begun:
                shutil.rmtree(folder)
        taken = {
            (int(folder.parent.parent.name), folder.name): folder
            for folder in self.target.glob(f"{LINKED}/[0-9]*/{CHECKPOINTS}/[0-9]*")
        }
        for unnamed in taken.keys() - checkpoints:
            shutil.rmtree(taken[unnamed])
        return checkpoints - taken.keys()

    def gone(self) -> bool:
        """Say whether something that was taken is no longer where it was."""
        taken = (path for path in self.target.rglob("*") if path.is_file())
        return any(not (self.source / path.relative_to(self.target)).exists() for path in taken)


def _entries(folder: "str | Path") -> "list[os.DirEntry[str]]":
    """List what is in a folder but for unfinished files, which begin with a dot."""
    with os.scandir(folder) as found:
        return sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _is_still(entry: "os.DirEntry[str]") -> bool:
    try:
        return os.stat(entry.path).st_ino == entry.inode()
    except FileNotFoundError:
        return False


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino):
        return True
    return (one.st_mtime_ns, one.st_size) == (other.st_mtime_ns, other.st_size)


def _linked(source: str, target: Path) -> bool:
    """Give a file a second name, and say whether that can be: not on another disk, and not on every file system."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True
