"""Rows of schedules as they cross HTTP."""

import time

from backend.damaged_rows import mended
from backend.job_rows import time_of
from backend.stored_config import read_config
from fedmem.contracts import Schedule
from fedmem.storage.schedules import ScheduleRow


def schedule_of(row: ScheduleRow) -> Schedule:
    """Show a schedule with what became of it last. One whose row is damaged says so."""
    return mended(f"schedule {row.id}", row, _whole_schedule_of, "trouble", _harmless)


def _harmless(row: ScheduleRow) -> dict[str, object]:
    first = {"next_at": None, "last_at": None, "created_at": 0.0, "promotion": None, "rounds": 0, "message": None}
    return first | {"last_job": None, "cron": str(row.cron), "timezone": str(row.timezone), "paused": True}


def _whole_schedule_of(row: ScheduleRow) -> Schedule:
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
