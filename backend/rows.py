"""Rows of the database as they cross HTTP."""

from datetime import UTC, datetime

from fedmem.config import ExperimentConfig
from fedmem.contracts import Job, LogLine, RoundMetrics, Trainer
from fedmem.storage.jobs import JobRow, LogRow, TrainerRow
from fedmem.storage.metrics import RoundRow

TRAINER_SILENCE = 60.0  # seconds after which a trainer is taken for dead


def time_of(seconds: float) -> datetime:
    """Seconds since 1970 as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def job_of(row: JobRow) -> Job:
    """A job; its lease, its token and its traceback stay inside."""
    return Job(
        id=row.id,
        kind=row.kind,
        dataset=row.dataset,
        state=row.state,
        desired_state=row.desired_state,
        round=row.round,
        num_rounds=row.num_rounds,
        best_round=row.best_round,
        clients_done=row.clients_done,
        clients_selected=row.clients_selected,
        created_at=time_of(row.created_at),
        started_at=None if row.started_at is None else time_of(row.started_at),
        finished_at=None if row.finished_at is None else time_of(row.finished_at),
        worker=row.worker,
        attempts=row.attempts,
        start_from=row.start_from,
        snapshot_digest=row.snapshot_digest,
        model_version=row.model_version,
        message=row.message,
        config=ExperimentConfig.model_validate(row.config),
    )


def round_of(row: RoundRow) -> RoundMetrics:
    """A round with its metrics by split and name."""
    return RoundMetrics(
        round=row.round,
        finished_at=time_of(row.finished_at),
        is_best=row.is_best,
        checkpoint=row.checkpoint is not None,
        metrics={split: dict(values) for split, values in row.metrics.items()},
    )


def log_line_of(row: LogRow) -> LogLine:
    """A line of a job's log."""
    return LogLine(id=row.id, time=time_of(row.time), level=row.level, message=row.message)


def trainer_of(row: TrainerRow, now: float) -> Trainer:
    """A trainer, alive if it was heard of lately."""
    return Trainer(
        worker=row.worker,
        alive=now - row.seen_at < TRAINER_SILENCE,
        started_at=time_of(row.started_at),
        seen_at=time_of(row.seen_at),
        job_id=row.job_id,
    )
