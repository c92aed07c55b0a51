"""A machine's copies of runs, kept as the bucket has them: without users whom others erased, and jobs they removed."""

import logging
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select

from fedmem.bucket import trainers_epoch
from fedmem.errors import FedMemError, StorageError
from fedmem.storage.copied_database import deletion_state
from fedmem.storage.engine import reading
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.followed_deletions import FollowedDeletions
from fedmem.storage.job_removal import JobRemoval
from fedmem.storage.schema import jobs, removed_jobs

LOG = logging.getLogger(__name__)
EVERY = 600.0  # seconds after which all copies are looked at, whether or not the database has news
TRY_AGAIN = 10.0  # seconds after which a copy is tried again that could not be brought


@dataclass(eq=False)
class FollowedRuns:
    """Looks into the database for news, and only then, and now and then, into the bucket.

    Attributes:
        engine: the database.
        removal: removes what is here of removed jobs, and knows the folders.
        deletions: removes what else is here, and may hold whom others deleted.
        known: lists the users in a run's folder; raises ``CheckpointError`` where it cannot be read.
        erase: erases users from one, and returns the files that were damaged and are removed.
        clock: tells seconds.
    """

    engine: Engine
    removal: JobRemoval
    deletions: FollowedDeletions
    known: Callable[[Path], Collection[str]]
    erase: Callable[[Path, Collection[str]], Collection[Path]]
    clock: Callable[[], float] = time.monotonic
    _seen: tuple[Any, ...] | None = None
    _next: float = -math.inf
    _is_whole: bool = False  # whether the bucket has been looked at for what it lost
    _owed: dict[int, float] = field(default_factory=dict)  # by job, when it is tried again

    def look(self) -> None:
        """Bring what others have published of the runs that are here, and drop what they removed.

        What cannot be brought is logged, and tried again.

        Raises:
            StorageError: if the database cannot be used.
            CheckpointError: if something that may hold deleted users cannot be removed.
        """
        if self.removal.runs.bucket is None:
            return
        self.deletions.look()
        seen, now = self._state(), self.clock()
        if seen != self._seen or now >= self._next:
            self.removal.sweep_here()
            self._publish_others()
            self._put_back_lost()
            self._owed = dict.fromkeys(self.removal.runs.here(), now)
            self._seen, self._next = seen, now + EVERY
        for job_id in [job_id for job_id, due in self._owed.items() if due <= now]:
            self._bring(job_id)

    def _publish_others(self) -> None:
        """Publish the runs that are here and not in the bucket, as all are that were trained before there was one."""
        runs = self.removal.runs
        try:
            missing = set(filter(runs.is_here, runs.here())) - set(runs.published())
        except FedMemError as error:
            LOG.error("runs that are here cannot be published: %s", error)
            return
        for job_id, token in self._at_rest(missing):
            try:
                self._publish(job_id, token)
            except StorageError:
                raise
            except FedMemError as error:
                LOG.error("job %d, which is here, cannot be published: %s", job_id, error)

    def _publish(self, job_id: int, token: int) -> None:
        """Publish one, without the users who were deleted while this machine was away or had another bucket."""
        runs, erasures = self.removal.runs, ErasureStore(self.engine)
        with erasures.alone(), runs.alone(job_id):
            if not runs.is_unpublished(job_id):  # another was quicker
                return
            folder = runs.folder_of(job_id)
            if gone := erasures.gone(job_id, self.known(folder)):
                LOG.info("%d deleted users are erased from job %d before it is published", len(gone), job_id)
                for path in self.erase(folder, gone):
                    LOG.warning("%s was damaged, and may have held a deleted user: it is removed", path)
            runs.publish(job_id, trainers_epoch(token))

    def _put_back_lost(self) -> None:
        """Let the bucket have again, once after the start, what it lost of the runs that are here and at rest."""
        runs = self.removal.runs
        if self._is_whole:
            return
        try:
            done = [runs.put_back(job_id) for job_id, _ in self._at_rest(runs.here())]
            self._is_whole = all(done)
        except StorageError:
            raise
        except FedMemError as error:
            LOG.error("what the bucket lost cannot be put back: %s", error)

    def _at_rest(self, job_ids: Collection[int]) -> list[tuple[int, int]]:
        """List those of these jobs that no trainer holds, with their tokens."""
        columns = select(jobs.c.id, jobs.c.token).where(jobs.c.id.in_(job_ids), jobs.c.state != "running")
        with reading(self.engine) as connection:
            return [(row.id, row.token) for row in connection.execute(columns)]

    def _state(self) -> tuple[Any, ...]:
        """Return what changes with every erasure and removal."""
        with reading(self.engine) as connection:
            removed = connection.scalar(select(func.count()).select_from(removed_jobs))
        return (removed, *deletion_state(self.engine))

    def _bring(self, job_id: int) -> None:
        """Bring one; one that a process of this machine holds is that one's to bring, and looked at again."""
        try:
            if self.removal.runs.bring(job_id):
                del self._owed[job_id]
            return
        except StorageError:
            raise
        except FedMemError as error:
            self._owed[job_id] = self.clock() + TRY_AGAIN
            LOG.error("job %d is not brought: %s", job_id, error)
