"""Makes a backup while everything runs: the database as of one moment, and the files that it names."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from fedmem.backup.data_folder import DataFolder
from fedmem.backup.manifest import Manifest, digests, write_manifest
from fedmem.errors import ConflictError, disk_error
from fedmem.storage.copied_database import DatabaseCopy, copy_database, deletion_state, named_checkpoints

LOG = logging.getLogger(__name__)
TRIES = 20
DATA = "data"


def back_up(
    engine: Engine,
    data_dir: Path,
    target: Path,
    clock: Callable[[], float] = time.time,
    bring: Callable[[], None] = lambda: None,
) -> Manifest:
    """Write a backup into a new folder, whole or not at all.

    Args:
        engine: the database.
        data_dir: the trainers' folder.
        target: the folder to make.
        clock: tells the time in seconds since 1970.
        bring: brings into the trainers' folder what other machines have published.

    Raises:
        ConflictError: if there is something already, or checkpoints come and go more quickly than they can be taken.
        CheckpointError: naming a file that cannot be read or written.
        StorageError: if the database cannot be copied.
    """
    _refuse_place(data_dir, target)
    with _whole(target) as unfinished:
        folder = DataFolder(data_dir, unfinished / DATA, _files_of(engine), bring)
        copied, made_at = _take(engine, folder, unfinished, clock)
        found = digests(unfinished)
        manifest = Manifest(made_at, copied.kind, copied.revision, str(data_dir.resolve()), found)
        write_manifest(unfinished, manifest)
    return manifest


def _take(engine: Engine, folder: DataFolder, target: Path, clock: Callable[[], float]) -> tuple[DatabaseCopy, float]:
    """Take files, database and files again, until every checkpoint is there that the database names.

    The first time, so that what a trainer removes meanwhile is there; the second, so that what it has written is, too.
    What only the first has taken may hold a user who was erased meanwhile: then all is taken anew. A checkpoint that is
    still named and not there was lost before; its job says so once it goes on.
    """
    for _ in range(TRIES):
        before, made_at = deletion_state(engine), clock()
        folder.take()
        copied = copy_database(engine, target)
        folder.take()
        untaken = folder.keep_only(copied.checkpoints, copied.begun)
        missing = untaken - named_checkpoints(engine)
        if not missing and (copied.deleted == before or not folder.gone()):
            _say_what_was_lost(untaken, copied, folder.source)
            return copied, made_at
        shutil.rmtree(folder.target)
    raise ConflictError(_why(missing))


def _say_what_was_lost(lost: frozenset[tuple[int, str]], copied: DatabaseCopy, data_dir: Path) -> None:
    """Warn of checkpoints that the database names and are nowhere; where that is all, the folder is another's."""
    if lost and lost == copied.checkpoints:
        raise ConflictError(
            f"the database names {len(lost)} checkpoints and {data_dir} holds none of them: name the trainers' folder "
            "by FEDMEM_DATA_DIR or --data-dir"
        )
    for job, name in sorted(lost):
        LOG.warning("checkpoint %s of job %d is not in %s, and so not in the backup", name, job, data_dir)


def _why(missing: frozenset[tuple[int, str]]) -> str:
    if not missing:
        return "users are being erased from the files: try again once that is done"
    job = min(missing)[0]
    return (
        f"job {job} removes checkpoints more quickly than they can be taken: pause it (fedmem jobs pause {job}), or "
        "try again"
    )


def _refuse_place(data_dir: Path, target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise ConflictError(f"{target} is there already: name a new folder for the backup")
    if target.resolve().is_relative_to(data_dir.resolve()):
        raise ConflictError(f"{target} is in the data folder {data_dir}: name a folder outside of it for the backup")


def _files_of(engine: Engine) -> frozenset[Path]:
    """List the database's own files, which may lie in the data folder."""
    if engine.dialect.name != "sqlite":
        return frozenset()
    file = Path(str(engine.url.database)).absolute()
    return frozenset(file.with_name(f"{file.name}{end}") for end in ("", "-wal", "-shm"))


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give a folder beside the target, which takes its name once the block has ended well."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(target)
    except OSError as error:
        raise disk_error(error, f"{target}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
