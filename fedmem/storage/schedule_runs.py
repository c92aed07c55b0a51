"""Queueing the job of a schedule: by the trainer when it is due, by a caller at once."""

from pathlib import Path

from fedmem.errors import ConflictError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.job_room import require_room
from fedmem.storage.job_rows import JobRow
from fedmem.storage.schedules import ScheduleRow, ScheduleStore


class ScheduleRuns:
    """Queues jobs of schedules, where the machine has room for them.

    Args:
        schedules: the schedules.
        data_dir: where the jobs' checkpoints are put.
        memory: the most that a job may take, in bytes; None for all of this machine's.
        defaults: the installation's file of settings, for a first job; None where it has none.
    """

    def __init__(
        self, schedules: ScheduleStore, data_dir: Path, memory: int | None, defaults: Path | None = None
    ) -> None:
        self._schedules, self._data_dir, self._memory, self._defaults = schedules, data_dir, memory, defaults
        self._catalogue = CatalogueStore(schedules.engine)

    def due(self, row: ScheduleRow) -> JobRow | None:
        """Queue the job of a schedule that is due; None if another trainer has done so, or one of the data set runs.

        Raises:
            FedMemError: saying why there can be no job now.
        """
        return self._queue(row, by_clock=True)

    def now(self, schedule_id: int) -> JobRow:
        """Queue the job of a schedule at once, of one that is paused too; when it is due next stays.

        Raises:
            UnknownScheduleError: if there is none of that number.
            ConflictError: while a job of a schedule of its data set has not ended.
            FedMemError: saying why there can be no job now.
        """
        row = self._schedules.get(schedule_id)
        if row.under_way is not None:
            raise ConflictError(
                f"job {row.under_way.id}, of a schedule of data set {row.dataset}, is {row.under_way.state}, and there "
                "are never two at a time: wait for its end, or stop it"
            )
        job = self._queue(row, by_clock=False)
        if job is None:
            raise ConflictError(
                f"a job of a schedule of data set {row.dataset} was queued at this moment: look at it first"
            )
        return job

    def _queue(self, row: ScheduleRow, *, by_clock: bool) -> JobRow | None:
        planned = self._schedules.planned(row, self._defaults)
        dataset = self._catalogue.dataset(row.dataset)
        needed = require_room(planned.config, dataset, self._data_dir, self._memory)
        return self._schedules.queue(planned, f"estimated to take {needed}", by_clock=by_clock)
