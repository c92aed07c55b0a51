"""The global abstract memory of a job, round by round. Clients' own memories are not to be had here."""

from collections.abc import Sequence
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response

from backend.dependencies import (
    LARGEST_ID,
    READS_A_JOB,
    AskedModel,
    Computing,
    CurrentLinks,
    CurrentServices,
    CurrentSettings,
    OfDataset,
    Served,
    charge,
)
from backend.links import Links
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from backend.routers.recommend import as_json, check_size
from backend.rows import prototype_of
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from backend.services import Services
from fedmem.contracts import (
    ItemMap,
    ItemPoint,
    MapPoint,
    PrototypeRound,
    RecommendationResponse,
    RowGrowth,
    ScoreShares,
    Selection,
    TransitionRows,
)
from fedmem.contracts.contract import PRINTABLE, STORED
from fedmem.contracts.memory import SHARE
from fedmem.contracts.recommendations import MAX_K
from fedmem.errors import UnknownError
from fedmem.serving import JobMap, Question, ShownTransitions, TransitionGrowth

router = APIRouter(prefix="/memory", tags=["memory"], route_class=KnownQueryRoute)

MOST_ROWS = 100

JobNumber = Annotated[
    int | None, Query(ge=1, le=LARGEST_ID, description="The job; default that of the model in service.")
]


@router.get("/prototypes", responses=problems(404, 409, 503), dependencies=[READS_A_JOB])
def get_prototypes(
    services: CurrentServices,
    served: Served,
    job: JobNumber = None,
    round: Annotated[
        int | None, Query(ge=0, le=LARGEST_ID, description="The round; default the last one kept.")
    ] = None,
    version: Annotated[
        str | None, Query(max_length=255, pattern=PRINTABLE, description="A model version, instead of job and round.")
    ] = None,
    dataset: OfDataset = None,
) -> PrototypeRound:
    """Show the prototypes after an evaluated round: mass, drift, place on the job's map, and the nearest titles."""
    job_id, number = _job_and_round(services, served, job, round, version, dataset)
    row = services.metrics.prototypes(job_id, number)
    if row is None:
        raise UnknownError(_nothing_kept(job_id, number, services.metrics.prototype_rounds(job_id)))
    titles = JobMap.read(services.runs.at_hand(job_id))
    return PrototypeRound(
        job_id=job_id,
        round=row.round,
        collapse=_collapse(services, job_id, row.round),
        prototypes=tuple(prototype_of(described, titles) for described in row.description),
        rounds=tuple(services.metrics.prototype_rounds(job_id)),
    )


@router.get(
    "/prototypes/{index}/recommendations",
    response_model=RecommendationResponse,
    responses=problems(404, 409, 503),
)
async def recommend_by_prototype(
    index: Annotated[int, Path(ge=0, le=LARGEST_ID, description="The prototype's index.", examples=[0])],
    model: AskedModel,
    served: Served,
    settings: CurrentSettings,
    computing: Computing,
    links: CurrentLinks,
    asked: Request,
    k: Annotated[int, Query(ge=1, le=MAX_K, description="How many items.")] = 10,
) -> Response:
    """Recommend what this prototype alone would recommend to a user of whom nothing is known.

    It is the cold start with one prototype in the global memory. A model without prototypes is a 409.
    """
    check_size(settings, k)
    charge(asked, k)
    named = links.naming(served.to_name(model.dataset))
    return await run_sync(_answer_by_prototype, model, index, k, named, limiter=computing)


def _answer_by_prototype(served: ServedModel, index: int, k: int, links: Links) -> Response:
    answer = served.recommender.with_prototype(index).answer(Question(selection=Selection(k=k)))
    return as_json(answer.response(None, image_url=links.picture_of))


@router.get("/transitions", responses=problems(404, 409, 503))
def get_transitions(
    model: AskedModel,
    asked: Request,
    item_id: Annotated[
        str | None,
        Query(pattern=STORED, description="The row of this item alone.", examples=["1197"]),
    ] = None,
    k: Annotated[int, Query(ge=1, le=MOST_ROWS, description="How many rows.")] = 10,
    followers: Annotated[int, Query(ge=1, le=MOST_ROWS, description="How many items of a row.")] = 5,
) -> TransitionRows:
    """Show what follows what: the rows of the transition memory that weigh most, or the row of one item.

    Rows are sums over all clients. Items with fewer than 5 interactions are left out, as a row's own item and among
    its followers, because their entries would show what a single client took; a pair of more frequent items may still
    come from one client. A model without a transition memory is a 409.
    """
    charge(asked, followers * (k if item_id is None else 1))
    shown = ShownTransitions(model.recommender, followers)
    return shown.strongest(k) if item_id is None else shown.of(item_id)


@router.get("/transitions/growth", responses=problems(404, 409, 503), dependencies=[READS_A_JOB])
def get_growth(
    services: CurrentServices,
    served: Served,
    item_id: Annotated[str, Query(pattern=STORED, description="The item whose row it is.", examples=["1197"])],
    job: JobNumber = None,
    followers: Annotated[int, Query(ge=1, le=MOST_ROWS, description="How many items of the row.")] = 5,
    dataset: OfDataset = None,
) -> RowGrowth:
    """Show how the greatest entries of one item's row grew over a job's rounds, as clients took part.

    Each round is a sum over the clients until then, without users who were deleted since; what was held out and
    feedback are not in it. A round before which fewer than 5 interactions with the item were added is left out, because
    the difference would show what a single client took. A job without transitions, or with noise on them, is a 409.
    """
    found = services.jobs.get(_job_id(services, served, job, dataset))
    growth = TransitionGrowth.read(services.runs.at_hand(found.id))
    return growth.of(found.id, item_id, found.round, followers)


@router.get("/shares", responses=problems(404, 409, 503))
def get_shares(
    services: CurrentServices, served: Served, job: JobNumber = None, dataset: OfDataset = None
) -> ScoreShares:
    """Show how much each part of the score has to do with what a job's model recommends.

    It is measured once, when the job has ended and its model is tested.
    """
    job_id = _job_id(services, served, job, dataset)
    version = services.jobs.get(job_id).model_version
    tested = {} if version is None else services.models.get(version).metrics.get("test", {})
    shares = {name.removeprefix(SHARE): value for name, value in tested.items() if name.startswith(SHARE)}
    if version is None or not shares:
        raise UnknownError(
            f"job {job_id} keeps no shares of its scores' parts: they come with its test, when all rounds are done"
        )
    return ScoreShares(job_id=job_id, model_version=version, shares=shares)


@router.get("/map", responses=problems(404, 409, 503), dependencies=[READS_A_JOB])
def get_item_map(
    services: CurrentServices,
    served: Served,
    job: JobNumber = None,
    dataset: OfDataset = None,
) -> ItemMap:
    """Show where the items are on the map of a job's prototypes; it stays the same throughout the job."""
    job_id = _job_id(services, served, job, dataset)
    drawn = JobMap.read(services.runs.at_hand(job_id))
    if drawn.points is None:
        raise UnknownError(_nothing_kept(job_id, None, []))
    points = tuple(
        ItemPoint(item_id=item.item_id, title=item.label, point=MapPoint(x=x, y=y)) for item, x, y in drawn.placed()
    )
    return ItemMap(job_id=job_id, items=points)


def _job_and_round(
    services: Services,
    served: ServedModels,
    job: int | None,
    round: int | None,
    version: str | None,
    dataset: str | None,
) -> tuple[int, int | None]:
    if version is not None:
        row = services.models.get(version)
        return row.job_id, row.round if round is None else round
    return _job_id(services, served, job, dataset), round


def _job_id(services: Services, served: ServedModels, job: int | None, dataset: str | None) -> int:
    if job is not None:
        return services.jobs.get(job).id
    return services.models.get(served.version_of(dataset)).job_id


def _collapse(services: Services, job_id: int, round: int) -> float | None:
    (row,) = services.metrics.rounds(job_id, after_round=round - 1, limit=1, splits=["train"])
    return row.metrics.get("train", {}).get("prototype_collapse")


def _nothing_kept(job_id: int, round: int | None, rounds: Sequence[int]) -> str:
    what = f"job {job_id} keeps no prototypes" + ("" if round is None else f" of round {round}")
    if rounds:
        return f"{what}; it does of {', '.join(map(str, rounds[-10:]))}"
    return f"{what} yet: they come with the first validation, where ablation.disable_moe is false"
