"""The folders of an installation's jobs, and what a bucket has of them.

The folder stays the working copy. What is published is copied into the bucket; what another machine has published since
is brought from there.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from fedmem.bucket.local_copy import LocalCopy
from fedmem.bucket.manifest import Manifest
from fedmem.bucket.published_run import JOBS, MANIFESTS, OBJECTS, PublishedRun
from fedmem.bucket.store import Bucket
from fedmem.errors import BucketError, CheckpointError

LOG = logging.getLogger(__name__)
PATIENCE, LOOK = 5.0, 0.05  # seconds that a folder is waited for that another process holds, and between two looks


class Runs:
    """The jobs' folders of a data folder; without a bucket, these alone.

    Args:
        data_dir: the trainers' folder.
        bucket: where the runs are published, or None.
    """

    def __init__(self, data_dir: Path, bucket: Bucket | None = None) -> None:
        self.data_dir, self.folder, self.bucket = data_dir, data_dir / "jobs", bucket
        self._held: set[int] = set()
        self._bringing: dict[int, Lock] = {}  # by job: of two threads the second finds what the first has brought

    @classmethod
    def at(cls, data_dir: Path, url: str | None) -> "Runs":
        """Make them of settings.

        Raises:
            ConfigError: if what reads the URL is not installed.
        """
        return cls(data_dir, None if url is None else Bucket(url))

    def check(self) -> None:
        """Find out whether the bucket can be used, and warn where it keeps what is deleted.

        Raises:
            ConfigError: if it is not there, or refuses this process.
            BucketError: if it cannot be reached.
        """
        if self.bucket is not None:
            self.bucket.check()
            if self.bucket.keeps_versions():
                LOG.warning(
                    "%s keeps versions: what is deleted, users too, stays there until they expire", self.bucket.url
                )

    def folder_of(self, job_id: int) -> Path:
        """Name a job's folder."""
        return self.folder / str(job_id)

    @contextmanager
    def holding(self, job_id: int) -> Iterator[None]:
        """Keep a job's folder for its trainer: nothing of this machine brings what the bucket has over it meanwhile.

        Raises:
            BucketError: if what another machine has published of it cannot be brought.
        """
        if self.bucket is None:
            yield
            return
        with self._copy(job_id).locked(shared=True):
            self._bring(self.bucket, job_id)
            self._held.add(job_id)
            try:
                yield
            finally:
                self._held.discard(job_id)

    @contextmanager
    def alone(self, job_id: int) -> Iterator[None]:
        """Keep a job's folder from all others of this machine, and bring what the bucket has of it.

        Raises:
            CheckpointError: if another process holds it.
            BucketError: if it cannot be brought.
        """
        if self.bucket is None:
            yield
            return
        until, copy = time.monotonic() + PATIENCE, self._copy(job_id)
        while True:
            with copy.locked() as taken:
                if taken:
                    self._bring(self.bucket, job_id)
                    yield
                    return
            if time.monotonic() > until:
                raise CheckpointError(f"{copy.folder} is held by a trainer of this machine")
            time.sleep(LOOK)

    def bring(self, job_id: int) -> bool:
        """Make a job's folder what the bucket has of it; False where a process of this machine holds the folder.

        Raises:
            BucketError: if the bucket cannot be used.
            CheckpointError: if a file in it is not what it was, naming it; the folder stays as it is.
        """
        if self.bucket is None or job_id in self._held:
            return True
        with self._bringing.setdefault(job_id, Lock()), self._copy(job_id).locked() as taken:
            if taken:
                self._bring(self.bucket, job_id)
            return taken

    def brought(self, job_id: int) -> Path:
        """Return a job's folder as the bucket has it or, where that cannot be used, as it is here.

        Raises:
            BucketError: if the bucket cannot be used, and nothing is here.
            CheckpointError: as ``bring``.
        """
        try:
            self.bring(job_id)
        except BucketError as error:
            if not self.is_here(job_id):
                raise
            LOG.warning("job %d is read as it is here: %s", job_id, error)
        return self.folder_of(job_id)

    def at_hand(self, job_id: int) -> Path:
        """Return a job's folder as it is here; only where it is not, it is brought."""
        return self.folder_of(job_id) if self.is_here(job_id) else self.brought(job_id)

    def is_here(self, job_id: int) -> bool:
        """Say whether a job's folder holds a run."""
        return (self.folder_of(job_id) / "manifest.json").exists()

    def publish(
        self, job_id: int, epoch: int, check: Callable[[], None] = lambda: None, *, thoroughly: bool = False
    ) -> None:
        """Let the bucket have a job's folder as it is; see ``PublishedRun``. Nothing, where no run is in it."""
        if self.bucket is not None and self.is_here(job_id):
            PublishedRun(self.bucket, job_id).publish(self._copy(job_id), epoch, check, thoroughly=thoroughly)

    def put_back(self, job_id: int) -> bool:
        """Let the bucket have again what it lost of a job and is here; False where a process holds the folder.

        Raises:
            BucketError: if the bucket cannot be used.
        """
        if self.bucket is None or not self.is_here(job_id):
            return True
        with self._copy(job_id).locked() as taken:
            if taken:
                PublishedRun(self.bucket, job_id).put_back(self._copy(job_id))
            return taken

    def keep(self, job_id: int, write: Callable[[Path], None]) -> None:
        """Write more into the folder of a job at rest, and let the bucket have it; no user may be erased meanwhile.

        Raises:
            BucketError: if the bucket cannot be used.
        """
        with self.alone(job_id):
            write(self.folder_of(job_id))
            if (before := self._newest(job_id)) is not None:
                self.publish(job_id, before.epoch)

    def is_unpublished(self, job_id: int) -> bool:
        """Say whether a run is here and not in the bucket: whom others erased meanwhile may be in it still."""
        return self.bucket is not None and self.is_here(job_id) and self._newest(job_id) is None

    def drop_unpublished(self, job_id: int) -> None:
        """Remove a job's files that never got into the bucket."""
        if self.bucket is not None and self._newest(job_id) is None:
            copy = self._copy(job_id)
            for name in reversed(copy.names()):  # the manifest, by which a run is there, before the data
                (copy.folder / name).unlink()

    def remove(self, job_id: int) -> None:
        """Remove all that the bucket has of a job, the manifests first."""
        if self.bucket is not None:
            PublishedRun(self.bucket, job_id).remove()

    def bring_all(self) -> None:
        """Bring all that the bucket has, but for what processes of this machine hold.

        Raises:
            BucketError, CheckpointError: as ``bring``.
        """
        for job_id in self.published():
            self.bring(job_id)

    def published(self) -> list[int]:
        """List the jobs that are in the bucket."""
        return self._jobs_with(MANIFESTS)

    def left_over(self) -> list[int]:
        """List the jobs of which the bucket has anything, as a killed process may have left it."""
        return self._jobs_with(MANIFESTS, OBJECTS)

    def _jobs_with(self, *parts: str) -> list[int]:
        names = [] if self.bucket is None else [name.split("/") for name in self.bucket.names(JOBS)]
        return sorted({int(name[1]) for name in names if len(name) == 4 and name[1].isdigit() and name[2] in parts})

    def here(self) -> list[int]:
        """List the jobs that have a folder on this machine."""
        return sorted(int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdigit())

    def _newest(self, job_id: int) -> Manifest | None:
        return None if self.bucket is None else PublishedRun(self.bucket, job_id).newest()

    def _bring(self, bucket: Bucket, job_id: int) -> None:
        PublishedRun(bucket, job_id).bring(self._copy(job_id))

    def _copy(self, job_id: int) -> LocalCopy:
        return LocalCopy(self.folder_of(job_id), "" if self.bucket is None else self.bucket.url)
