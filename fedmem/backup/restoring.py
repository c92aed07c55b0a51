"""Makes an installation of a backup: checked file by file, then put where nothing is yet."""

import os
import shutil
from pathlib import Path

from fedmem.backup.making import DATA
from fedmem.backup.manifest import Manifest, read_manifest, verify
from fedmem.errors import ConflictError, disk_error
from fedmem.storage.copied_database import FILES, kind_of, move_pictures, refuse_if_used, restored_database


def restore(backup: Path, url: str, data_dir: Path) -> Manifest:
    """Restore a backup; what is wrong with it, or in the way, is found before anything is written.

    Args:
        backup: the folder that ``back_up`` has made.
        url: of the database to make.
        data_dir: the trainers' folder to make.

    Raises:
        DataError: if it is no backup, or damaged: the message names the file.
        ConflictError: if database or folder are there, or the backup is of another kind of database.
        CheckpointError: if the folder cannot be written.
        StorageError: if the database cannot be made.
    """
    manifest = read_manifest(backup)
    _refuse_place(manifest, url, data_dir)
    verify(backup, manifest)
    unfinished = data_dir.with_name(f".{data_dir.name}.{os.getpid()}")
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(backup / DATA, unfinished)
        with restored_database(backup / FILES[manifest.database], url) as engine:
            move_pictures(engine, manifest.data_dir, str(data_dir.resolve()))
            if data_dir.exists():
                data_dir.rmdir()  # it is empty
            unfinished.rename(data_dir)
    except OSError as error:
        raise disk_error(error, f"{data_dir}: cannot be restored ({error.strerror}); remove what is there") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return manifest


def _refuse_place(manifest: Manifest, url: str, data_dir: Path) -> None:
    kind = kind_of(url)
    if kind != manifest.database:
        raise ConflictError(
            f"the backup is of a {manifest.database} database, which cannot be restored into {kind}: name one of its "
            "kind by DATABASE_URL or --database-url"
        )
    refuse_if_used(url)
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise ConflictError(
            f"the data folder {data_dir} is not empty: move it, or name another by FEDMEM_DATA_DIR or --data-dir"
        )
