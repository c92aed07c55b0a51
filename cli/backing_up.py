"""``fedmem backup`` and ``fedmem restore``: the database and the data folder, together."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.database import opened
from cli.options import DatabaseUrl, ServiceDir, runs_in
from cli.screen import counted, in_utc, notes
from fedmem.environment import keep_files_private
from fedmem.errors import ConflictError, DataError


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the backup.")],
    data_dir: ServiceDir = Path("runs/service"),
    database_url: DatabaseUrl = None,
) -> None:
    """Back up database, models and runs into a new folder, while everything runs.

    Checkpoints share the disk's room with the installation where both are on one disk: copy the folder elsewhere to be
    safe from the disk. What the bucket has (FEDMEM_BUCKET) is brought into the data folder first. .env and the file of
    keys are not in it.
    """
    from fedmem.backup.making import back_up

    keep_files_private()
    with opened(database_url) as engine:
        made = back_up(engine, data_dir, folder, bring=runs_in(data_dir).bring_all)
    notes.print(f"{folder} holds {counted(len(made.files), 'file')}, {made.size / 2**20:,.1f} MiB")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `fedmem backup` has written.")],
    data_dir: ServiceDir = Path("runs/service"),
    database_url: DatabaseUrl = None,
) -> None:
    """Check every file of a backup, and make database and data folder of it where neither is yet.

    Jobs that were running go on from their last round once a trainer runs. FEDMEM_BUCKET names a folder that is empty:
    the runs of another time are no part of this one.
    """
    import migrations
    from fedmem.backup.manifest import read_manifest
    from fedmem.backup.restoring import restore as restore_backup
    from fedmem.storage.engine import DEFAULT_URL

    keep_files_private()
    if runs_in(data_dir).published():
        raise ConflictError(
            "FEDMEM_BUCKET holds runs, which are not of the time of the backup: name an empty folder of it"
        )
    if not migrations.knows(revision := read_manifest(folder).revision):
        raise DataError(f"{folder} is of a newer FedMem (its database is at {revision}): restore it with that version")
    restored = restore_backup(folder, database_url or DEFAULT_URL, data_dir)
    at = in_utc(datetime.fromtimestamp(restored.made_at, UTC))
    notes.print(f"restored as it was on {at} UTC: {counted(len(restored.files), 'file')}")
    notes.print("users who were deleted after that are in it again: delete them again")
    if revision != migrations.head():
        notes.print("it is of an earlier FedMem; run: fedmem db upgrade")
