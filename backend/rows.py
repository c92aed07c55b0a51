"""Rows of the database as they cross HTTP."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backend.damaged_rows import DAMAGE, warn_once
from backend.job_rows import time_of
from backend.links import Links
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from fedmem.contracts import (
    HistoryEntry,
    Impression,
    InService,
    ItemResponse,
    MapPoint,
    NearestItem,
    Prototype,
    RunningTest,
    UserHistory,
)
from fedmem.serving import JobMap, description_of
from fedmem.storage.ab_rows import AbTestRow
from fedmem.storage.catalogue_rows import InteractionRow, ItemRow
from fedmem.storage.impressions import ImpressionRow


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
        description=description_of(row.text, row.title, row.genres, row.year),
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
