"""Queues the jobs of schedules that are due, in a thread of its own, so that a job that trains holds up no other."""

import logging

from fedmem.errors import FedMemError, StorageError
from fedmem.logs import EXTRA, about
from fedmem.storage.schedule_runs import ScheduleRuns
from fedmem.storage.schedules import ScheduleRow, ScheduleStore
from trainer.repeating import Repeating

logger = logging.getLogger(__name__)


class Scheduler(Repeating):
    """Looks at the schedules at once and then every so many seconds. Several trainers queue each job once.

    Args:
        schedules: the schedules.
        runs: queues their jobs.
        seconds: from one look to the next.
    """

    def __init__(self, schedules: ScheduleStore, runs: ScheduleRuns, seconds: float) -> None:
        super().__init__("scheduler", seconds)
        self._schedules, self._runs = schedules, runs

    def look(self) -> None:
        """Queue what is due. A schedule that cannot be followed says why, and goes on at its next time."""
        try:
            self._schedules.bring_back()
            for row in self._schedules.due():
                with about(dataset=row.dataset):
                    self._queue(row)
        except StorageError as error:
            logger.warning("no schedule can be looked at: %s", error)
        except Exception:  # whatever it is: this thread goes on, and so does the trainer
            logger.exception("the schedules could not all be looked at")

    def _queue(self, row: ScheduleRow) -> None:
        try:
            job = self._runs.due(row)
        except StorageError:
            raise
        except FedMemError as error:
            self._fail(row, str(error))
        except Exception as error:  # a damaged row, say: the others are followed all the same
            logger.exception("schedule %d", row.id)
            self._fail(row, f"an unexpected error ({type(error).__name__}); the trainer's log has its traceback")
        else:
            if job is not None:
                logger.info("schedule %d is due: job %d is queued", row.id, job.id, extra={EXTRA: {"job": job.id}})

    def _fail(self, row: ScheduleRow, message: str) -> None:
        logger.error("schedule %d is due, and no job is queued: %s", row.id, message)
        self._schedules.fail(row, message)
