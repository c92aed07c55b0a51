"""Erases deleted users from the files of jobs and the database's, and tries again what could not be done."""

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fedmem.bucket import Runs, erasers_epoch
from fedmem.errors import CheckpointError, StorageError
from fedmem.serving import erase_texts, erase_users, known_users, leftovers
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.copied_database import named_checkpoints
from fedmem.storage.erasures import Erasure, ErasureStore

LOG = logging.getLogger(__name__)
TRY_AGAIN = 60.0  # seconds after which files that could not be written are tried again


@dataclass(eq=False)
class Eraser:
    """Erases users whom the database holds no longer.

    Attributes:
        erasures: deleted users whom files may hold still.
        catalogue: whose database's files may hold them.
        runs: the jobs' folders, with the trainers' checkpoints.
    """

    erasures: ErasureStore
    catalogue: CatalogueStore
    runs: Runs
    clock: Callable[[], float] = time.monotonic
    _erasing: threading.Lock = field(default_factory=threading.Lock)
    _failed: dict[int, float] = field(default_factory=dict)  # by job, when that was found
    _database_failed: float = -math.inf  # likewise

    def erase(self, user_id: str) -> None:
        """Erase a user who was deleted just now, and all others who wait for it.

        Raises:
            CheckpointError: naming the files that cannot be read or written; all others were erased.
        """
        erase_texts(self.runs.data_dir)  # of a data set without jobs, too
        failures = [str(error) for erasure, error in self._erase() if user_id in erasure.user_ids]
        if failures:
            raise CheckpointError("; ".join(failures))

    def erase_what_waits(self) -> None:
        """Erase those who are left, and log where that cannot be done; what has failed just now is left for later."""
        for erasure, error in self._erase(not_again=TRY_AGAIN):
            LOG.error("deleted users are still in the files of job %d: %s", erasure.job_id, error)
        if self.clock() - self._database_failed >= TRY_AGAIN:
            self._erase_from_database()

    def _erase_from_database(self) -> None:
        """Do it for all who were deleted since the last time, as it takes seconds where there are millions of rows."""
        try:
            self.catalogue.forget_deleted()
        except StorageError as error:
            self._database_failed = self.clock()
            LOG.error("deleted users are still in the files of the database: %s", error)

    def _erase(self, not_again: float = 0.0) -> list[tuple[Erasure, CheckpointError]]:
        """Erase deleted users from the files of all jobs that no trainer holds; what could not be done, and why.

        What failed less than ``not_again`` seconds ago is left for later.
        """
        failures: list[tuple[Erasure, CheckpointError]] = []
        if not self.erasures.pending():
            return failures
        with self._erasing, self.erasures.alone():  # files are read, changed and written again
            for erasure in self.erasures.pending():
                if self.clock() - self._failed.get(erasure.job_id, -math.inf) < not_again:
                    continue
                try:
                    self._erase_files(erasure)
                    self._failed.pop(erasure.job_id, None)
                except StorageError:
                    raise  # the database's, and so of all
                except Exception as error:  # whatever is wrong with one job's files, those of others are erased
                    self._failed[erasure.job_id] = self.clock()
                    failures.append((erasure, CheckpointError(str(error) or type(error).__name__)))
        return failures

    def _erase_files(self, erasure: Erasure) -> None:
        folder = self.runs.folder_of(erasure.job_id)
        with self.runs.alone(erasure.job_id):
            self._require_files(erasure)
            self._remove_leftovers(folder, erasure)
            erase_texts(self.runs.data_dir)
            for path in erase_users(folder, {*erasure.user_ids, *self._gone_unpublished(erasure.job_id)}):
                LOG.warning(
                    "%s was damaged, and may have held a deleted user: it is removed, its checkpoint is lost", path
                )
            epoch, check = erasers_epoch(erasure.token), partial(self._require_pending, erasure)
            self.runs.publish(erasure.job_id, epoch, check, thoroughly=True)
        self.erasures.done(erasure)

    def _gone_unpublished(self, job_id: int) -> set[str]:
        """Find out who else was deleted, whom others have erased from a bucket that was before this one."""
        with suppress(CheckpointError):  # else the files are damaged, or cannot be read, as their erasure finds
            if self.runs.is_unpublished(job_id):
                return self.erasures.gone(job_id, known_users(self.runs.folder_of(job_id)))
        return set()

    def _require_files(self, erasure: Erasure) -> None:
        """Refuse to take a job's users for erased whose files another machine has, and has not published yet."""
        job_id, runs = erasure.job_id, self.runs
        if runs.bucket is None or runs.is_here(job_id):
            return
        if any(job == job_id for job, _ in named_checkpoints(self.erasures.engine)):
            raise CheckpointError(
                f"its files are neither in {runs.bucket.url} nor here: start a trainer or an API with this bucket on "
                "the machine that has them, or remove the job"
            )

    def _require_pending(self, erasure: Erasure) -> None:
        """Refuse to go on where a trainer has taken the job up meanwhile: it erases by itself."""
        if not self._is_at_rest(erasure):
            raise CheckpointError("a trainer has taken the job up meanwhile, and erases them itself")

    def _is_at_rest(self, erasure: Erasure) -> bool:
        """Say whether no trainer has taken the job up since; more users may have been deleted."""
        return (erasure.job_id, erasure.token) in {(one.job_id, one.token) for one in self.erasures.pending()}

    def _remove_leftovers(self, folder: Path, erasure: Erasure) -> None:
        """Remove what a killed trainer left, unless another has the job by now: what there is then is that one's."""
        left = leftovers(folder)
        if left and self._is_at_rest(erasure):
            for one in left:
                with suppress(FileNotFoundError):
                    shutil.rmtree(one)
