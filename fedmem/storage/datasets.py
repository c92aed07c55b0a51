"""Data sets by name: found, locked for writing, counted, removed."""

from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from fedmem.config import Repeats
from fedmem.errors import ConflictError, UnknownDatasetError
from fedmem.storage.catalogue_rows import DatasetRow
from fedmem.storage.interactions import count_seen, each_user
from fedmem.storage.items import count_items
from fedmem.storage.schema import datasets, jobs

# A data set whose first import is under way is not there yet, and one that is being removed is not there any more.
_SEEN = datasets.c.newest_id.is_not(None)


def find_dataset(connection: Connection, name: str) -> int:
    """Return the id of a data set.

    Raises:
        UnknownDatasetError: if there is none of this name; the message names those there are.
    """
    dataset_id: int | None = connection.scalar(select(datasets.c.id).where(datasets.c.name == name, _SEEN))
    if dataset_id is None:
        raise _unknown(connection, name)
    return dataset_id


def lock_dataset(connection: Connection, name: str) -> int:
    """Return the id of a data set, locked against other writers until this transaction ends.

    So its interactions become visible in the order of their ids: who has seen row n has seen every row before it.
    Jobs that refer to it are not held up.
    """
    wanted = select(datasets.c.id).where(datasets.c.name == name, _SEEN)
    # SQLite lets one transaction write at a time anyway, and has no FOR UPDATE.
    dataset_id: int | None = connection.scalar(wanted.with_for_update(key_share=True))
    if dataset_id is None:
        raise _unknown(connection, name)
    return dataset_id


def let_be_seen(connection: Connection, dataset_id: int, newest_id: int) -> None:
    """Let interactions up to an id be seen; the data set must be locked."""
    connection.execute(update(datasets).where(datasets.c.id == dataset_id).values(newest_id=newest_id))


def list_datasets(connection: Connection) -> list[DatasetRow]:
    """List the data sets by name, with their counts."""
    return [
        _counted(connection, row) for row in connection.execute(select(datasets).where(_SEEN).order_by(datasets.c.name))
    ]


def count_dataset(connection: Connection, name: str) -> DatasetRow:
    """Return one data set with its counts."""
    dataset_id = find_dataset(connection, name)
    return _counted(connection, connection.execute(select(datasets).where(datasets.c.id == dataset_id)).one())


def dataset_repeats(connection: Connection, dataset_id: int) -> Repeats | None:
    """Say whether items that a user has taken are offered again; None if no import has said so."""
    repeats: Repeats | None = connection.scalar(select(datasets.c.repeats).where(datasets.c.id == dataset_id))
    return repeats


def hide_dataset(connection: Connection, name: str) -> int:
    """Let a data set be seen no more, and return its id: it can be deleted piece by piece.

    Raises:
        ConflictError: while jobs refer to it.
    """
    wanted = select(datasets.c.id).where(datasets.c.name == name, _SEEN)
    dataset_id: int | None = connection.scalar(
        wanted.with_for_update()
    )  # a job that is being created waits, and finds it gone
    if dataset_id is None:
        raise _unknown(connection, name)
    users = list(connection.scalars(select(jobs.c.id).where(jobs.c.dataset_id == dataset_id).order_by(jobs.c.id)))
    if users:
        raise ConflictError(
            f"the data set {name!r} cannot be removed: {_named(users)} trained or will train on it, and the record of "
            f"a job names its data. fedmem data remove {name} --force removes them with it"
        )
    connection.execute(update(datasets).where(datasets.c.id == dataset_id).values(newest_id=None))
    return dataset_id


def _counted(connection: Connection, row: Row[Any]) -> DatasetRow:
    users = connection.scalar(select(func.count()).select_from(each_user(row.id).subquery()))
    counts = int(users or 0), count_items(connection, row.id), count_seen(connection, row.id)
    return DatasetRow(row.name, row.source, row.imported_at, *counts, row.repeats)


def _named(job_ids: list[int]) -> str:
    shown = ", ".join(map(str, job_ids[:5]))
    return f"job {shown}" if len(job_ids) == 1 else f"{len(job_ids)} jobs ({shown}{', ..' if job_ids[5:] else ''})"


def _unknown(connection: Connection, name: str) -> UnknownDatasetError:
    names = list(connection.scalars(select(datasets.c.name).where(_SEEN).order_by(datasets.c.name)))
    there = f"there are: {', '.join(names)}" if names else "there are none yet"
    return UnknownDatasetError(f"there is no data set {name!r}; {there}. fedmem data import brings one in")
