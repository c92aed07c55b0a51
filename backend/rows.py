"""Rows of the database as they cross HTTP."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from backend.damaged_rows import DAMAGE, mended, warn_once
from backend.job_rows import numbers, time_of
from backend.links import Links
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from fedmem.contracts import (
    Activation,
    Dataset,
    HistoryEntry,
    Impression,
    InService,
    ItemResponse,
    MapPoint,
    ModelVersion,
    NearestItem,
    Prototype,
    RunningTest,
    Trainer,
    UserHistory,
)
from fedmem.serving import JobMap
from fedmem.storage.ab_rows import AbTestRow
from fedmem.storage.catalogue_rows import DatasetRow, InteractionRow, ItemRow
from fedmem.storage.impressions import ImpressionRow
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


def in_service_of(served: ServedModels) -> tuple[InService, ...]:
    """Show which model answers for which data set."""
    return tuple(
        InService(
            dataset=dataset,
            model_version=version,
            in_memory=served.in_memory(version) is not None,
            default=dataset == served.unnamed,
            ab_test=_test_of(served.tests.get(dataset)),
        )
        for dataset, version in sorted(served.in_service.items())
    )


def _test_of(test: AbTestRow | None) -> RunningTest | None:
    return None if test is None else RunningTest(id=test.id, treatment=test.treatment, share=test.share)


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


def item_of(row: ItemRow, served: ServedModel | None, links: Links, *, available: bool = True) -> ItemResponse:
    """Show an item, and what the model of its data set knows of it."""
    known = None if served is None else served.recommender.catalogue
    recommendable = known is not None and row.item_id in known
    return ItemResponse(
        item_id=row.item_id,
        title=row.title or row.item_id,
        genres=row.genres,
        year=row.year,
        tags=row.tags,
        text=row.text,
        image_url=links.picture(row.item_id, row.image_path),
        available=available,
        recommendable=recommendable and available,
        trained=recommendable and known is not None and known.index(row.item_id) <= known.trained,
    )


def history_of(
    user_id: str, rows: Sequence[InteractionRow], items: Mapping[str, ItemRow], shown: Sequence[ImpressionRow]
) -> UserHistory:
    """Show a user's interactions with the items' titles, and what was recommended."""
    entries = tuple(
        HistoryEntry(item_id=row.item_id, title=_title(row.item_id, items), timestamp=row.timestamp) for row in rows
    )
    return UserHistory(user_id=user_id, interactions=entries, impressions=tuple(_impressions_of(shown)))


def _impressions_of(rows: Sequence[ImpressionRow]) -> Iterator[Impression]:
    """Show what was recommended, without damaged rows, of which the log tells."""
    for row in rows:
        try:
            yield _impression_of(row)
        except DAMAGE as error:
            place = f"item {row.position} of answer {row.recommendation_id!r}"
            warn_once(f"the row of {place} in the database is damaged and left out: {error}")


def _impression_of(row: ImpressionRow) -> Impression:
    return Impression(
        recommendation_id=row.recommendation_id,
        item_id=row.item_id,
        position=row.position,
        model_version=row.version,
        shown_at=time_of(row.shown_at),
        clicked_at=None if row.clicked_at is None else time_of(row.clicked_at),
        taken_at=None if row.taken_at is None else time_of(row.taken_at),
    )


def _title(item_id: str, items: Mapping[str, ItemRow]) -> str:
    return items[item_id].title or item_id if item_id in items else item_id


def prototype_of(described: Mapping[str, Any], on: JobMap) -> Prototype:
    """Show a prototype as the trainer described it, with the titles of its nearest items."""
    nearest = (
        NearestItem(item_id=item.item_id, title=item.label, similarity=similarity)
        for item, similarity in ((on.item(index), similarity) for index, similarity in described["nearest"])
        if item is not None
    )
    return Prototype(
        index=described["index"],
        mass=described["mass"],
        drift=described["drift"],
        point=MapPoint(x=described["x"], y=described["y"]),
        nearest=tuple(nearest),
    )
