"""Jobs removed with their models and their folders; what serves, or is still needed, is not."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects import postgresql, sqlite

from fedmem.bucket import Runs
from fedmem.errors import ConflictError, disk_error
from fedmem.storage.ab_rows import running_test
from fedmem.storage.engine import reading, writing
from fedmem.storage.job_rows import JobRow, job_row, select_jobs
from fedmem.storage.job_states import ENDED
from fedmem.storage.models import active_version, version_before
from fedmem.storage.schema import activations, datasets, jobs, models, removed_jobs

DAY = 86_400.0


@dataclass(frozen=True)
class RemovalCandidate:
    """A job that may be removed.

    Attributes:
        job: the job.
        size: what its folder takes on the disk, in bytes.
        use: its model's, ``in service`` or ``tried in an A/B test``; empty where it answers no user.
    """

    job: JobRow
    size: int
    use: str


@dataclass(frozen=True)
class _Serving:
    """A model of a job that answers users, as what, and what ends that."""

    version: str
    use: str
    remedy: str


class JobRemoval:
    """Removes ended jobs.

    Args:
        engine: the database.
        runs: the jobs' folders.
        clock: tells the time in seconds since 1970.
    """

    def __init__(self, engine: Engine, runs: Runs, clock: Callable[[], float] = time.time) -> None:
        self.engine, self.runs, self.clock = engine, runs, clock

    def look(self, job_ids: Sequence[int], *, even_in_service: bool = False) -> list[RemovalCandidate]:
        """Say what would be removed, and what of the disk that would free.

        Raises:
            UnknownJobError: if there is no such job.
            ConflictError: if one cannot be removed, and why.
        """
        with reading(self.engine) as connection:
            found = [(job_row(connection, number), _serving(connection, number)) for number in dict.fromkeys(job_ids)]
            for job, serving in found:
                _require_removable(connection, job, None if even_in_service else serving)
        return [
            RemovalCandidate(job, size_of(self.runs.folder_of(job.id)), serving.use if serving else "")
            for job, serving in found
        ]

    def of_dataset(self, dataset: str) -> list[int]:
        """List the jobs on a data set, in order."""
        with reading(self.engine) as connection:
            named = select(jobs.c.id).join(datasets).where(datasets.c.name == dataset).order_by(jobs.c.id)
            return list(connection.scalars(named))

    def remove(self, job_id: int, reason: str, *, even_in_service: bool = False) -> None:
        """Remove a job from the database with rounds, metrics, log and models, then its folder and from the bucket.

        Raises:
            UnknownJobError: if there is no such job.
            ConflictError: if it cannot be removed, and why.
            CheckpointError: if the job is removed, and its folder cannot be.
            BucketError: if it is removed but for what the bucket has of it, which ``sweep`` removes later.
        """
        with writing(self.engine) as connection:
            job = job_row(connection, job_id, lock=True)
            _require_removable(connection, job, None if even_in_service else _serving(connection, job_id))
            _forget_activations(connection, job_id)
            connection.execute(jobs.update().where(jobs.c.start_from == job_id).values(start_from=None))
            connection.execute(models.delete().where(models.c.job_id == job_id))
            connection.execute(jobs.delete().where(jobs.c.id == job_id))
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            row = dialect.insert(removed_jobs).values(job_id=job_id, removed_at=self.clock(), reason=reason)
            connection.execute(row.on_conflict_do_nothing())
        self._remove_folder(job_id)
        self.runs.remove(job_id)

    def beyond(self, number: int | None, days: float | None) -> list[int]:
        """List the ended jobs that are beyond the newest NUMBER of them, or ended more than DAYS ago.

        Those are left out whose model is in service or would be after a rollback, and those that others are to go on
        from.
        """
        newest_first = select_jobs().where(jobs.c.state.in_(ENDED)).order_by(jobs.c.id.desc())
        with reading(self.engine) as connection:
            ended = [JobRow(**row) for row in connection.execute(newest_first).mappings()]
            old = [
                job
                for place, job in enumerate(ended)
                if (number is not None and place >= number)
                or (days is not None and (job.finished_at or job.created_at) < self.clock() - days * DAY)
            ]
            return [job.id for job in reversed(old) if _may_go(connection, job)]

    def sweep(self) -> None:
        """Remove what is left of removed jobs, as whoever removed them was killed meanwhile or was another machine.

        Raises:
            CheckpointError: if that cannot be done.
            BucketError: if the bucket cannot be used.
        """
        folder = self.runs.folder
        try:
            for left in folder.glob(".gone-*"):
                _remove(left)
        except OSError as error:
            raise disk_error(
                error, f"{folder}: .gone-*, of removed jobs, cannot be removed ({error.strerror}): remove it yourself"
            ) from None
        if self.runs.bucket is not None:
            for job_id in self._removed(self.runs.left_over()):
                self.runs.remove(job_id)
            self.sweep_here()

    def sweep_here(self) -> None:
        """Remove the folders of jobs that another machine has removed; only with a bucket, as else there is none.

        Raises:
            CheckpointError: if that cannot be done.
        """
        for job_id in self._removed(self.runs.here()):
            self._remove_folder(job_id)

    def _removed(self, job_ids: Sequence[int]) -> list[int]:
        """List which of these jobs were removed; not those that the database never knew."""
        with reading(self.engine) as connection:
            return list(connection.scalars(select(removed_jobs.c.job_id).where(removed_jobs.c.job_id.in_(job_ids))))

    def _remove_folder(self, job_id: int) -> None:
        """Take the folder its name first, in one step: what is cut off later is no job's any more."""
        folder = self.runs.folder_of(job_id)
        gone = folder.with_name(f".gone-{job_id}.{os.getpid()}")
        try:
            if folder.exists():
                folder.rename(gone)
            _remove(gone)
        except OSError as error:
            raise disk_error(
                error, f"job {job_id} is removed, but not its folder {folder} ({error.strerror}): remove it yourself"
            ) from None


def _remove(folder: Path) -> None:
    """Remove a folder that another process may be removing, too."""
    while folder.exists():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def size_of(folder: Path) -> int:
    """Return what a folder takes on the disk, in bytes; 0 where there is none."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def next_job_id(connection: Connection) -> int | None:
    """Return a number that no job bears or bore, where the database does not see to it by itself: on SQLite."""
    if connection.dialect.name != "sqlite":
        return None
    newest = (select(table).order_by(table.desc()).limit(1) for table in (jobs.c.id, removed_jobs.c.job_id))
    return 1 + max(connection.scalar(query) or 0 for query in newest)


def _require_removable(connection: Connection, job: JobRow, serving: _Serving | None) -> None:
    if job.state not in ENDED:
        raise ConflictError(f"job {job.id} is {job.state} and cannot be removed: stop it first")
    if serving is not None:
        raise ConflictError(
            f"job {job.id} cannot be removed: its model {serving.version} is {serving.use} for the data set "
            f"{job.dataset!r}. {serving.remedy}"
        )
    for child in _waiting_children(connection, job.id):
        raise ConflictError(f"job {job.id} cannot be removed: job {child} is to go on from it. Wait for it, or stop it")


def _may_go(connection: Connection, job: JobRow) -> bool:
    try:
        _require_removable(connection, job, _serving(connection, job.id))
    except ConflictError:
        return False
    return not (job.model_version and version_before(connection, job.dataset) == job.model_version)


def _serving(connection: Connection, job_id: int) -> _Serving | None:
    """Return the model of a job that is in service or is tried in an A/B test, None if none is."""
    dataset_id = connection.scalar(select(jobs.c.dataset_id).where(jobs.c.id == job_id))
    if dataset_id is None:
        return None
    test, active = running_test(connection, dataset_id), active_version(connection, dataset_id)
    for version in connection.scalars(select(models.c.version).where(models.c.job_id == job_id)):
        if version == active:
            return _Serving(version, "in service", "Activate another before")
        if test is not None and version == test.treatment:
            return _Serving(version, "tried in an A/B test", f"Stop test {test.id} before")
    return None


def _waiting_children(connection: Connection, job_id: int) -> Iterator[int]:
    waiting = (jobs.c.start_from == job_id, jobs.c.state.not_in(ENDED), jobs.c.round == 0)
    yield from connection.scalars(select(jobs.c.id).where(*waiting).limit(1))


def _forget_activations(connection: Connection, job_id: int) -> None:
    """Forget when the job's models served; a rollback goes past them."""
    versions = select(models.c.version).where(models.c.job_id == job_id)
    served = select(activations).where(activations.c.version.in_(versions)).order_by(activations.c.id.desc())
    for row in connection.execute(served).all():
        after = activations.update().where(activations.c.before_id == row.id)
        connection.execute(after.values(before_id=row.before_id))
        connection.execute(activations.delete().where(activations.c.id == row.id))
