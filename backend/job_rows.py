"""Rows of jobs, their rounds and their logs as they cross HTTP."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from backend.damaged_rows import DAMAGE, mended, warn_once
from backend.job_phase import phase_of
from backend.stored_config import read_config
from fedmem.config import ExperimentConfig
from fedmem.contracts import Job, LogLine, PrivacyCost, RoundMetrics
from fedmem.contracts.jobs import Split
from fedmem.privacy.cost import planned
from fedmem.storage.jobs import JobRow, LogRow
from fedmem.storage.metrics import RoundRow


def time_of(seconds: float) -> datetime:
    """Take seconds since 1970 as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def job_of(row: JobRow) -> Job:
    """Show a job; its lease, its token and its traceback stay inside. One whose row is damaged says so."""
    try:
        return _whole_job_of(row)
    except DAMAGE as error:
        warn_once(f"the row of job {row.id} cannot be shown: {error}")
        return _damaged_job(row)


def _damaged_job(row: JobRow) -> Job:
    began = time_of(0)
    return Job(
        id=row.id,
        kind="experiment",
        dataset=str(row.dataset),
        state="failed",
        desired_state="stopped",
        round=0,
        num_rounds=0,
        best_round=None,
        clients_done=0,
        clients_selected=0,
        created_at=began,
        started_at=None,
        finished_at=None,
        worker=None,
        attempts=0,
        start_from=None,
        snapshot=None,
        snapshot_digest=None,
        promotion=None,
        model_version=None,
        model_waits=None,
        message=f"the row of job {row.id} in the database is damaged: restore it from a backup; the log says more",
        config=ExperimentConfig(),
    )


def _whole_job_of(row: JobRow) -> Job:
    config, refused = read_config(row.config)
    return Job(
        id=row.id,
        kind=row.kind,
        dataset=row.dataset,
        state=row.state,
        desired_state=row.desired_state,
        phase=phase_of(row, config),
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
        snapshot=row.snapshot,
        snapshot_digest=row.snapshot_digest,
        promotion=row.promotion,
        model_version=row.model_version,
        model_waits=row.held_back,
        message=row.message,
        config=config,
        config_refused=refused,
        privacy=_cost_of(config),
    )


def _cost_of(config: ExperimentConfig) -> PrivacyCost | None:
    """Show what a job will cost a user."""
    cost = planned(config)
    return None if cost is None else PrivacyCost(epsilon=cost.epsilon, delta=cost.delta, protected=cost.protected)


def round_of(row: RoundRow) -> RoundMetrics:
    """Show a round with its metrics by split and name, of a damaged one those that are numbers."""
    return mended(
        f"round {row.round}",
        row,
        _whole_round_of,
        None,
        lambda row: {"metrics": numbers(row.metrics), "finished_at": 0.0},
    )


def numbers(metrics: Mapping[Split, Mapping[str, Any]]) -> dict[Split, dict[str, float]]:
    """Keep of metrics those that are numbers."""
    return {
        split: {name: value for name, value in values.items() if isinstance(value, float) and math.isfinite(value)}
        for split, values in metrics.items()
    }


def _whole_round_of(row: RoundRow) -> RoundMetrics:
    return RoundMetrics(
        round=row.round,
        finished_at=time_of(row.finished_at),
        is_best=row.is_best,
        checkpoint=row.checkpoint is not None,
        metrics={split: dict(values) for split, values in row.metrics.items()},
    )


def log_line_of(row: LogRow) -> LogLine:
    """Show a line of a job's log."""
    return mended(
        f"line {row.id} of the log",
        row,
        _whole_line_of,
        "message",
        lambda row: {"level": "WARNING", "time": 0.0, "message": ""},
    )


def _whole_line_of(row: LogRow) -> LogLine:
    return LogLine(id=row.id, time=time_of(row.time), level=row.level, message=row.message)
