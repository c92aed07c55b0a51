"""Removes jobs that are older than the operator wants to keep, or too many, now and then."""

import logging
import math
import time
from collections.abc import Callable

from fedmem.errors import FedMemError, UnknownJobError
from fedmem.storage.job_removal import JobRemoval
from trainer.settings import Settings

logger = logging.getLogger(__name__)

EVERY = 3600.0  # seconds between two looks


class Retention:
    """Removes ended jobs by number and age, but for those whose model serves or would after a rollback.

    Args:
        removal: removes them.
        settings: how many are kept, and for how long.
        clock: tells seconds.
    """

    def __init__(self, removal: JobRemoval, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._removal, self._clock = removal, clock
        self._number, self._days = settings.keep_jobs, settings.keep_jobs_days
        self._next = -math.inf

    def tidy(self, *, now: bool = False) -> None:
        """Remove what is to go, if that is asked for, and what is left of what went; once an hour, or ``now``.

        What fails is tried the next time.
        """
        if self._clock() < self._next and not now:
            return
        self._next = self._clock() + EVERY
        try:
            self._removal.sweep()
            if self._number is not None or self._days is not None:
                for job_id in self._removal.beyond(self._number, self._days):
                    self._remove(job_id)
        except FedMemError as error:
            logger.error("old jobs are not removed: %s", error)

    def _remove(self, job_id: int) -> None:
        try:
            self._removal.remove(job_id, "by FEDMEM_KEEP_JOBS or FEDMEM_KEEP_JOBS_DAYS")
        except UnknownJobError:  # another trainer was first
            return
        logger.info("job %d is removed, with its models (FEDMEM_KEEP_JOBS, FEDMEM_KEEP_JOBS_DAYS)", job_id)
