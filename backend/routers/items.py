"""The catalogue: items by title and genre, their pictures, what is like them, and new ones."""

from http import HTTPStatus
from typing import Annotated

from anyio import from_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import FailFast

from backend.dependencies import (
    WRITES,
    AskedDataset,
    AskedModel,
    Catalogue,
    Changes,
    CurrentArrivals,
    CurrentLinks,
    CurrentSettings,
    DatasetName,
    ItemIdInPath,
    ModelOfDataset,
    NewItemIdInPath,
    Served,
    charge,
    dataset_name,
)
from backend.images import MEDIA_TYPES, read_image
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from backend.routers.recommend import check_size
from backend.rows import item_of
from fedmem.contracts import AvailabilityChange, ItemAvailability, ItemPage, ItemResponse, ItemUpdate, SimilarItems
from fedmem.contracts.recommendations import MAX_K, MOST_TAGS, Tag
from fedmem.errors import UnknownItemError
from fedmem.serving import described_item
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow

router = APIRouter(tags=["items"], route_class=KnownQueryRoute)
without_database = APIRouter(tags=["items"], route_class=KnownQueryRoute)


@router.get("/items", responses=problems(404, 409, 503))
def list_items(
    dataset: DatasetName,
    model: ModelOfDataset,
    catalogue: Catalogue,
    served: Served,
    links: CurrentLinks,
    q: Annotated[str, Query(max_length=200, description="Only titles that contain this, in any case.")] = "",
    category: Annotated[str | None, Query(max_length=200, description="Only items of this genre.")] = None,
    tag: Annotated[
        tuple[Tag, ...], FailFast(), Query(max_length=MOST_TAGS, description="Only items with all of these tags.")
    ] = (),
    available: Annotated[bool | None, Query(description="false: only hidden items; true: only the others.")] = None,
    offset: Annotated[int, Query(ge=0, le=10_000_000, description="How many to skip; `next` holds it.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500, description="How many.")] = 50,
) -> ItemPage:
    """List items by title; those whose title begins with `q` come first."""
    page = catalogue.find_items(
        dataset, search=q, category=category, tags=tag, available=available, offset=offset, limit=limit
    )
    following = None
    if offset + limit < page.total:
        query = {
            "q": q,
            "category": category,
            "tag": tag,
            "available": _written(available),
            "dataset": dataset,
            "offset": offset + limit,
            "limit": limit,
        }
        following = links.path(
            "/items", **{name: value for name, value in query.items() if value not in ("", None, ())}
        )
    links = links.naming(served.to_name(dataset))
    hidden = catalogue.hidden_of(dataset, [row.item_id for row in page.items])
    items = tuple(item_of(row, model, links, available=row.item_id not in hidden) for row in page.items)
    return ItemPage(items=items, total=page.total, next=following)


@without_database.get("/items/{item_id:id}/similar", responses=problems(404, 409, 503))
def list_similar_items(
    item_id: ItemIdInPath,
    model: AskedModel,
    served: Served,
    settings: CurrentSettings,
    links: CurrentLinks,
    asked: Request,
    k: Annotated[int, Query(ge=1, le=MAX_K, description="How many items.")] = 10,
) -> SimilarItems:
    """Find the items nearest to one in the model's space."""
    check_size(settings, k)
    charge(asked, k)
    return model.recommender.similar(item_id, k).response(links.naming(served.to_name(model.dataset)).picture_of)


@router.get(
    "/items/{item_id:id}/image",
    response_class=Response,
    responses={
        **problems(404, 409, 503),
        200: {"description": "The picture.", "content": {name: {} for name in sorted(set(MEDIA_TYPES.values()))}},
    },
)
def get_item_image(item_id: ItemIdInPath, dataset: DatasetName, catalogue: Catalogue) -> Response:
    """Send the picture that the import found."""
    content, media_type = read_image(item_id, catalogue.item(dataset, item_id).image_path)
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=media_type, headers=headers)


@router.get("/items/{item_id:id}", responses=problems(404, 409, 503))
def get_item(
    item_id: ItemIdInPath,
    dataset: DatasetName,
    model: ModelOfDataset,
    catalogue: Catalogue,
    served: Served,
    links: CurrentLinks,
) -> ItemResponse:
    """Describe one item."""
    row, hidden = catalogue.item(dataset, item_id), catalogue.hidden_of(dataset, [item_id])
    return item_of(row, model, links.naming(served.to_name(dataset)), available=not hidden)


@router.put("/items/{item_id:id}", dependencies=[WRITES], responses=problems(400, 404, 409, 413, 503))
def put_item(
    item_id: NewItemIdInPath,
    update: ItemUpdate,
    catalogue: Catalogue,
    changes: Changes,
    arrivals: CurrentArrivals,
    links: CurrentLinks,
    dataset: AskedDataset = None,
) -> ItemResponse:
    """Describe an item, a new one too. By its text it is recommendable in the next answer, without training.

    The first text since the API was started waits for the text encoder, which takes seconds to load; this answer does
    not: `recommendable` is false until then.

    Imports keep what is described here, unless they are told to overwrite it.
    """
    name = dataset_name(dataset, arrivals.served, catalogue)
    item = described_item(item_id, update.title, update.genres, update.year, update.text)
    stored = _stored(catalogue, name, item_id)
    tags = update.tags if "tags" in update.model_fields_set else stored.tags
    row = ItemRow(item_id, item.title, item.genres, item.year, stored.image_path, item.text, tags=tags)
    changes.put_item(name, row)
    model, hidden = from_thread.run(arrivals.if_any, name), catalogue.hidden_of(name, [item_id])
    return item_of(row, model, links.naming(arrivals.served.to_name(name)), available=not hidden)


@router.delete(
    "/items/{item_id:id}", status_code=HTTPStatus.NO_CONTENT, dependencies=[WRITES], responses=problems(404, 409, 503)
)
def delete_item(item_id: ItemIdInPath, dataset: DatasetName, changes: Changes) -> None:
    """Delete an item that no user has taken; one that some have is a 409, and can be hidden."""
    changes.delete_item(dataset, item_id)


@router.post("/items/availability", dependencies=[WRITES], responses=problems(400, 404, 409, 413, 503))
def change_availability(
    change: ItemAvailability,
    catalogue: Catalogue,
    changes: Changes,
    arrivals: CurrentArrivals,
    asked: Request,
    dataset: AskedDataset = None,
) -> AvailabilityChange:
    """Hide items, out of stock say, and show others again; from the next answer on, without training.

    All or none: an unknown item is a 404 that names it. `GET /items?available=false` lists the hidden ones.
    """
    charge(asked, len(change.hide) + len(change.show))
    name = dataset_name(dataset, arrivals.served, catalogue)
    hidden, shown = changes.change_hidden(name, change.hide, change.show)
    return AvailabilityChange(hidden=hidden, shown=shown)


def _written(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _stored(catalogue: CatalogueStore, dataset: str, item_id: str) -> ItemRow:
    """Find what is known of an item; its picture is not part of a description, and stays."""
    try:
        return catalogue.item(dataset, item_id)
    except UnknownItemError:
        return ItemRow(item_id)
