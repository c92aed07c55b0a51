"""Rows of schedules as they cross HTTP."""

import time

from backend.job_rows import time_of
from backend.stored_config import read_config
from fedmem.contracts import Schedule
from fedmem.storage.schedules import ScheduleRow


def schedule_of(row: ScheduleRow) -> Schedule:
    """Show a schedule with what became of it last."""
    job = row.last_job
    return Schedule(
        id=row.id,
        dataset=row.dataset,
        cron=row.cron,
        timezone=row.timezone,
        rounds=row.rounds,
        promotion=row.promotion,
        paused=row.paused,
        created_at=time_of(row.created_at),
        next_at=None if row.next_at is None else time_of(row.next_at),
        last_at=None if row.last_at is None else time_of(row.last_at),
        last_job=None if job is None else job.id,
        last_job_state=None if job is None else job.state,
        trouble=row.trouble(time.time()),
        config=read_config(row.config)[0],
    )
