"""Health, what Prometheus reads, data sets and trainers."""

import time
from functools import partial

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from backend.damaged_rows import shown
from backend.dependencies import Catalogue, CurrentServices, Jobs, OfDataset, Served
from backend.errors import NoModelError, NotReadyError
from backend.openapi import problems
from backend.operation_rows import dataset_of, trainer_of
from backend.query_route import KnownQueryRoute
from backend.rows import in_service_of
from backend.served_models import ServedModels
from fedmem.contracts import DatasetList, Live, Ready, TrainerList
from fedmem.storage.engine import check_schema

router = APIRouter(tags=["operations"], route_class=KnownQueryRoute)
# What probes and scrapers ask for, without a key.
public = APIRouter(tags=["operations"], route_class=KnownQueryRoute)
ready = APIRouter(tags=["operations"], route_class=KnownQueryRoute)
ready_of_run = APIRouter(tags=["operations"], route_class=KnownQueryRoute)  # instead, where there is no database


@public.get("/health/live", responses=problems())
async def is_live() -> Live:
    """Say whether the process answers."""
    return Live()


@public.get(
    "/metrics",
    response_class=Response,
    responses={**problems(), 200: {"description": "Prometheus text.", "content": {"text/plain": {}}}},
)
async def get_metrics(request: Request) -> Response:
    """Return counters in the Prometheus text format."""
    text = generate_latest(request.app.state.http_metrics.registry)
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})


@ready.get("/health/ready", responses=problems(404, 503))
async def is_ready(request: Request, services: CurrentServices, served: Served, dataset: OfDataset = None) -> Ready:
    """Say whether the database is at this version's schema and a model answers; else 503 says which is missing.

    Without `dataset` that of the default data set is asked for, and where there is no default any will do. A data set
    that is not there is a 404.
    """
    await anyio.to_thread.run_sync(check_schema, services.engine)
    refused = "; ".join(
        f"{version} was refused: {why.reason}" for version, why in services.keeper.loader.refusals.items()
    )
    try:
        return _ready(request, served, dataset, services.keeper.troubles.sentences())
    except NotReadyError as error:
        if isinstance(error, NoModelError) and dataset is not None:
            raise
        raise NotReadyError(f"the database is ready, but {error}" + (f" ({refused})" if refused else "")) from None


@ready_of_run.get("/health/ready", responses=problems(503), name="is_ready")
async def has_model(request: Request, served: Served) -> Ready:
    """Say whether a model answers."""
    return _ready(request, served, None)


def _ready(request: Request, served: ServedModels, asked: str | None, troubles: tuple[str, ...] = ()) -> Ready:
    dataset = served.unnamed if asked is None else asked
    several = dataset is None and bool(served.in_service)
    version = None if several else served.version_of(dataset)
    if not served.all():  # at the start: requests wait for it, probes are told
        raise NotReadyError("the model in service is still being loaded")
    warnings = (*request.app.state.keys.troubles(), *filter(None, [served.trouble]), *troubles)
    return Ready(model_version=version, dataset=dataset, in_service=in_service_of(served), warnings=warnings)


@router.get("/datasets", responses=problems(503))
def list_datasets(catalogue: Catalogue) -> DatasetList:
    """List imported data sets, and how much is in them."""
    return DatasetList(datasets=tuple(shown(dataset_of, catalogue.datasets())))


@router.get("/trainers", responses=problems(503))
def list_trainers(jobs: Jobs) -> TrainerList:
    """List the trainers, and when each was last heard of."""
    now = time.time()
    trainers = shown(partial(trainer_of, now=now), jobs.trainers())
    return TrainerList(trainers=tuple(sorted(trainers, key=lambda trainer: trainer.seen_at, reverse=True)))
