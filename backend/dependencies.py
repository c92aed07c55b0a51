"""What a route may ask for. Async where nothing blocks, because FastAPI runs sync dependencies in a thread each."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated

import anyio
from fastapi import Depends, Path, Query, Request, Security
from fastapi.security import APIKeyHeader

from backend.errors import KEY_NAME
from backend.keys import Access, Keys
from backend.links import Links
from backend.middleware import client_of
from backend.model_changes import ModelChanges
from backend.model_keeper import ModelKeeper
from backend.model_lookup import ModelLookup
from backend.model_trials import ModelTrials
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from backend.services import Services
from backend.settings import Settings
from fedmem.contracts.catalogue import NewItemId
from fedmem.contracts.contract import PRINTABLE, STORED
from fedmem.errors import ConflictError
from fedmem.importing.uploads import Uploads
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.jobs import JobStore
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore
from fedmem.storage.schedules import ScheduleStore
from web.rate_limit import RateLimit

UNIT = 100  # items or events that count as a request
TURN = 0.01  # seconds of a turn at what others wait for that count as a request
LARGEST_ID = 2**63 - 1  # of a database's row
ITEM_ID = "An item's id, percent-encoded: a slash in it is %2F."
USER_ID = "A user's id, percent-encoded: a slash in it is %2F."
_key_header = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    description="A key that may write, where there are keys; for the rest, one that may read where there are such.",
)


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _served(request: Request) -> ServedModels:
    served: ServedModels = request.app.state.served
    return served


async def _arrivals(request: Request) -> ModelLookup:
    arrivals: ModelLookup = request.app.state.arrivals
    return arrivals


async def _links(request: Request) -> Links:
    links: Links = request.app.state.links
    return links


async def _ending(request: Request) -> anyio.Event:
    ending: anyio.Event = request.app.state.ending
    return ending


async def _computing(request: Request) -> anyio.CapacityLimiter:
    computing: anyio.CapacityLimiter = request.app.state.computing
    return computing


CurrentServices = Annotated[Services, Depends(_services)]
CurrentSettings = Annotated[Settings, Depends(_settings)]
Served = Annotated[ServedModels, Depends(_served)]
CurrentArrivals = Annotated[ModelLookup, Depends(_arrivals)]
CurrentLinks = Annotated[Links, Depends(_links)]
Ending = Annotated[anyio.Event, Depends(_ending)]
Computing = Annotated[anyio.CapacityLimiter, Depends(_computing)]


async def _jobs(services: CurrentServices) -> JobStore:
    return services.jobs


async def _metrics(services: CurrentServices) -> MetricStore:
    return services.metrics


async def _models(services: CurrentServices) -> ModelStore:
    return services.models


async def _schedules(services: CurrentServices) -> ScheduleStore:
    return services.schedules


async def _catalogue(services: CurrentServices) -> CatalogueStore:
    return services.catalogue


async def _keeper(services: CurrentServices) -> ModelKeeper:
    return services.keeper


async def _trials(services: CurrentServices) -> ModelTrials:
    return services.keeper.trials


async def _changes(services: CurrentServices) -> ModelChanges:
    return services.keeper.changes


async def _uploads(services: CurrentServices) -> Uploads:
    return services.uploads


Jobs = Annotated[JobStore, Depends(_jobs)]
Metrics = Annotated[MetricStore, Depends(_metrics)]
Models = Annotated[ModelStore, Depends(_models)]
Schedules = Annotated[ScheduleStore, Depends(_schedules)]
Catalogue = Annotated[CatalogueStore, Depends(_catalogue)]
Keeper = Annotated[ModelKeeper, Depends(_keeper)]
Trials = Annotated[ModelTrials, Depends(_trials)]
Changes = Annotated[ModelChanges, Depends(_changes)]
CurrentUploads = Annotated[Uploads, Depends(_uploads)]


def demand(request: Request, access: Access) -> None:
    """Let a request pass that needs no key, or has one that allows it; the log has the key's name.

    Raises:
        ApiKeyError: if there is no key, or an unknown one.
        ForbiddenError: if the key is good for less.
    """
    keys: Keys = request.app.state.keys
    request.scope[KEY_NAME] = keys.demand(access, request.headers.get(_key_header.model.name))


def charge(request: Request, amount: int) -> None:
    """Count a request that makes or stores so many things as one for each UNIT of them."""
    rate: RateLimit | None = request.app.state.rate
    if rate is not None and amount > UNIT:
        rate.charge(client_of(request.scope), (amount - 1) // UNIT)


async def _may_read(request: Request) -> None:
    dependencies = getattr(request.scope.get("route"), "dependencies", ())
    # Else a writer without a key would be told that a key for reading is enough.
    writes = WRITES in dependencies or SEES_USERS in dependencies
    demand(request, Access.WRITE if writes else Access.READ)


async def _may_write(request: Request, _: Annotated[str | None, Security(_key_header)]) -> None:
    demand(request, Access.WRITE)


async def _one_of_few(request: Request, _: Annotated[None, Depends(_may_write)]) -> AsyncIterator[None]:
    """Wait until few others write: all wait for the same lock of the database, and threads are needed to read."""
    async with request.app.state.writing:
        yield


async def _one_reads_a_job(request: Request) -> AsyncIterator[None]:
    """Wait, outside the threads, until no other request reads what a job started from; its turn is charged by its time.

    How much work it is depends on the job, and on whether a model in memory has its data already.
    """
    state = request.app.state
    with state.job_places.slot(client_of(request.scope)):
        async with state.reading_job:
            began = monotonic()
            try:
                yield
            finally:
                charge(request, round(UNIT * (monotonic() - began) / TURN))


WHICH_VERSION = "A version in memory; default the one in service of the data set."
Version = Annotated[str | None, Query(max_length=255, pattern=PRINTABLE, description=WHICH_VERSION)]
WHICH_DATASET = (
    "The data set whose model answers. Default: FEDMEM_DATASET, or the only one that has a model in service; where "
    "several have one and none is named, 409 lists them."
)
OfDataset = Annotated[str | None, Query(max_length=255, pattern=PRINTABLE, description=WHICH_DATASET)]

READS = Depends(_may_read)
SEES_USERS = Depends(_may_write)
WRITES = Depends(_one_of_few)
READS_A_JOB = Depends(_one_reads_a_job, scope="function")  # not until the answer is sent


# Of a route with a body, which resolves the name by ``dataset_name`` itself: what is wrong with the body comes first.
AskedDataset = Annotated[
    str | None,
    Query(
        max_length=255,
        pattern=PRINTABLE,
        description="The data set. Default: FEDMEM_DATASET, or the only one that has a model in service or, before "
        "there is any, the only one.",
    ),
]


def dataset_name(asked: str | None, served: ServedModels, catalogue: CatalogueStore) -> str:
    """Find out which data set is meant.

    Raises:
        ConflictError: if none is named, and there is not the one that could be meant.
    """
    if asked is not None:
        return asked
    if served.unnamed is not None or served.in_service:
        return served.dataset_of(None)
    names = [row.name for row in catalogue.datasets()]
    if len(names) == 1:
        return names[0]
    there = f"there are {', '.join(names)}: name one with ?dataset=" if names else "import one: fedmem data import PATH"
    raise ConflictError(f"no model is in service that would say which data set is meant; {there}")


def _dataset_name(served: Served, catalogue: Catalogue, dataset: AskedDataset = None) -> str:
    return dataset_name(dataset, served, catalogue)


DatasetName = Annotated[str, Depends(_dataset_name)]


def _only_dataset(
    catalogue: Catalogue,
    dataset: Annotated[
        str | None, Query(max_length=255, pattern=PRINTABLE, description="Only what is of this data set.")
    ] = None,
) -> str | None:
    if dataset is not None:
        catalogue.dataset(dataset)  # or 404, which lists those there are
    return dataset


OnlyDataset = Annotated[str | None, Depends(_only_dataset)]


async def _model_of(arrivals: CurrentArrivals, dataset: DatasetName) -> ServedModel | None:
    return await arrivals.if_any(dataset)


async def _asked_model(arrivals: CurrentArrivals, model: Version = None, dataset: OfDataset = None) -> ServedModel:
    return await arrivals.of(model, dataset)


ModelOfDataset = Annotated[ServedModel | None, Depends(_model_of)]  # what knows the data set's items, if there is any
AskedModel = Annotated[ServedModel, Depends(_asked_model)]  # of a route without a body
JobId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="The job's number.", examples=[1])]
UserIdInPath = Annotated[str, Path(pattern=STORED, description=USER_ID, examples=["u001"])]
ItemIdInPath = Annotated[str, Path(pattern=STORED, description=ITEM_ID, examples=["i001"])]
NewItemIdInPath = Annotated[NewItemId, Path(description=ITEM_ID, examples=["i001"])]
