"""Rows of what an operator looks at, over HTTP and on the command line: trainers, models, data sets."""

from collections.abc import Mapping
from functools import partial

from backend.damaged_rows import mended
from backend.job_rows import numbers, time_of
from fedmem.contracts import Activation, Dataset, ModelVersion, Trainer
from fedmem.storage.catalogue_rows import DatasetRow
from fedmem.storage.jobs import TrainerRow
from fedmem.storage.models import ActivationRow, ModelRow

TRAINER_SILENCE = 60.0  # seconds after which a trainer is taken for dead


def trainer_of(row: TrainerRow, now: float) -> Trainer:
    """Show a trainer, alive if heard of lately; in time to come, by a clock that was set back since, is not lately."""
    return mended(
        f"trainer {row.worker}",
        row,
        partial(_whole_trainer_of, now=now),
        None,
        lambda row: {"job_id": None, "started_at": 0.0, "seen_at": 0.0},
    )


def _whole_trainer_of(row: TrainerRow, now: float) -> Trainer:
    return Trainer(
        worker=row.worker,
        alive=abs(now - row.seen_at) < TRAINER_SILENCE,
        started_at=time_of(row.started_at),
        seen_at=time_of(row.seen_at),
        job_id=row.job_id,
    )


def model_of(row: ModelRow, in_service: Mapping[str, str], refused: str | None) -> ModelVersion:
    """Show a model version, whether it serves, and why it could not; ``in_service`` is what answers, by data set."""
    show = partial(_whole_model_of, in_service=in_service, refused=refused)
    return mended(
        f"model {row.version}",
        row,
        show,
        "refused",
        lambda row: {"metrics": numbers(row.metrics), "held_back": None, "created_at": 0.0},
    )


def _whole_model_of(row: ModelRow, in_service: Mapping[str, str], refused: str | None) -> ModelVersion:
    return ModelVersion(
        version=row.version,
        job_id=row.job_id,
        dataset=row.dataset,
        round=row.round,
        created_at=time_of(row.created_at),
        active=row.active,
        serving=in_service.get(row.dataset) == row.version,
        kept=row.checkpoint is not None,
        state="in_service" if row.active else "replaced" if row.served_before else "ready",
        waits=None if row.served_before else row.held_back,
        refused=refused,
        metrics={split: dict(values) for split, values in row.metrics.items()},
    )


def activation_of(row: ActivationRow) -> Activation:
    """Show when a model was the one to serve, and why; it lasted until the next, which may be the damaged one."""
    return mended(
        f"an activation of model {row.version}",
        row,
        _whole_activation_of,
        "reason",
        lambda row: {"until": None, "activated_at": 0.0, "reason": ""},
    )


def _whole_activation_of(row: ActivationRow) -> Activation:
    return Activation(
        dataset=row.dataset,
        version=row.version,
        since=time_of(row.activated_at),
        until=None if row.until is None else time_of(row.until),
        reason=row.reason,
    )


def dataset_of(row: DatasetRow) -> Dataset:
    """Show a data set and its counts; where its row is damaged the log says so."""
    return mended(
        f"data set {row.name}",
        row,
        _whole_dataset_of,
        None,
        lambda row: {"imported_at": 0.0, "repeats": None, "source": ""},
    )


def _whole_dataset_of(row: DatasetRow) -> Dataset:
    return Dataset(
        name=row.name,
        source=row.source,
        imported_at=time_of(row.imported_at),
        users=row.users,
        items=row.items,
        interactions=row.interactions,
        repeats=row.repeats,
    )
