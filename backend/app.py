"""The FastAPI application."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache, partial
from http import HTTPStatus
from typing import Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, FastAPI, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import Scope

from backend.concurrency_limit import ConcurrencyLimit
from backend.dependencies import READS
from backend.documentation import PAGE, add_documentation
from backend.errors import add_error_handlers, problem
from backend.keys import Keys
from backend.links import Links
from backend.middleware import RequestLimits, RequestObserver
from backend.model_lookup import ModelLookup
from backend.node_follower import NodeFollower
from backend.openapi import TAGS, document, operation_id
from backend.operation_metrics import AnswerMetrics
from backend.routers import (
    ab_tests,
    comparisons,
    experiments,
    feedback,
    items,
    jobs,
    memory,
    models,
    online,
    operations,
    progress,
    recommend,
    schedules,
    uploads,
    users,
)
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from backend.services import Services
from backend.settings import Settings
from backend.shared_rate_limit import SharedRateLimit
from backend.telemetry import HttpMetrics
from fedmem import __version__
from fedmem.errors import ConfigError
from fedmem.importing.uploads import MOST as MOST_UPLOADS
from fedmem.interruption import heeding
from web.browsers import BrowserGuard
from web.prefix import PathPrefix
from web.settings import parts

LOG = logging.getLogger(__name__)
FROM_OTHER_SITES: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": ["X-API-Key", "Content-Type", "Idempotency-Key", "X-Request-ID"],
    "expose_headers": ["Location", "Retry-After", "X-Request-ID"],
}
WRITING = 8  # requests that write at a time; of the threads there are 40
COMPUTING = 2  # threads that compute answers which take long, besides the one that answers every caller
BATCHES = 1  # of them, that batches may take: they take longest
# Batches, and reads of what a job started from, that are answered or wait: in all, and of one address.
WAITING_BATCHES = (16, 4)
WAITING_READS = (64, 16)
# The first in the list is the first that a request's path is compared with.
WITHOUT_DATABASE = (recommend.router, items.without_database)
WITH_DATABASE = (
    items.router,
    feedback.router,
    users.router,
    comparisons.router,  # before /jobs/{job_id}
    jobs.router,
    progress.router,
    schedules.router,
    models.router,
    memory.router,
    experiments.router,
    online.router,
    ab_tests.router,
    uploads.router,
    operations.router,
)


def create_app(settings: Settings, run: ServedModel | NodeFollower | None = None) -> FastAPI:
    """Make the application: it answers as long as its lifespan lasts.

    Args:
        settings: the process's.
        run: a run's model, which is served as it is, or a node's, which follows its files; with the routes that need no
            database.
    """
    app = FastAPI(
        title="FedMem",
        version=__version__,
        summary="Recommendations from a federated model whose users keep their data.",
        description="Errors are application/problem+json (RFC 9457) and name the request's id, which the log has too.",
        openapi_tags=TAGS,
        docs_url=None,  # FastAPI's pages load their scripts from a foreign address
        redoc_url=None,
        lifespan=_lifespan(run),
    )
    app.state.settings = settings
    app.state.http_metrics = HttpMetrics.create()
    app.state.answers = AnswerMetrics(app.state.http_metrics.registry)
    app.state.ending = anyio.Event()
    app.state.streams = ConcurrencyLimit(
        "streams (FEDMEM_MAX_STREAMS) are open", settings.max_streams, settings.max_streams // 4
    )
    app.state.upload_places = ConcurrencyLimit("files arrive", MOST_UPLOADS, MOST_UPLOADS // 2)
    app.state.batch_places = ConcurrencyLimit("batches are answered or wait", *WAITING_BATCHES)
    app.state.job_places = ConcurrencyLimit("requests for what jobs started from are answered or wait", *WAITING_READS)
    app.state.reading_job = anyio.Semaphore(1)  # it may fill the memory
    app.state.writing = anyio.Semaphore(WRITING)
    app.state.computing = anyio.CapacityLimiter(COMPUTING)
    app.state.batches = anyio.CapacityLimiter(BATCHES)
    if run is None:
        app.state.served = ServedModels(settings.dataset, settings.models_in_memory)
    else:
        app.state.served = ServedModels.of_run(run.model if isinstance(run, NodeFollower) else run)
    app.state.arrivals = ModelLookup(app.state.served)
    app.state.impressions = None  # where there is no database
    app.state.keys = Keys.of(settings)
    app.state.links = Links(settings.root_path)
    app.router.routes.extend(_routes(with_database=run is None))
    add_documentation(app, app.state.links)
    _refuse_own_path(settings.root_path)
    app.openapi = partial(document, app, settings.root_path)  # type: ignore[method-assign]
    add_error_handlers(app)
    app.state.rate = rate = _rate_limit(settings)
    # The last one added is the first to see a request.
    answered = ConcurrencyLimit("requests are being answered", settings.max_connections, settings.max_connections // 2)
    longest = {"/uploads": settings.max_upload_bytes}
    app.add_middleware(
        RequestLimits, max_body_bytes=settings.max_body_bytes, longest=longest, rate=rate, answered=answered
    )
    if origins := parts(settings.allowed_origins):
        app.add_middleware(CORSMiddleware, allow_origins=origins, **FROM_OTHER_SITES)
    app.add_middleware(BrowserGuard, settings=settings, refuse=_refused)
    app.add_middleware(RequestObserver, metrics=app.state.http_metrics)
    if settings.root_path:
        app.add_middleware(PathPrefix, prefix=settings.root_path)
    return app


@cache
def _routes(with_database: bool) -> list[BaseRoute]:
    """List the routes, which applications of one process share: working them out takes longer than the rest."""
    router = APIRouter(generate_unique_id_function=operation_id)
    for routes in (operations.public, operations.ready if with_database else operations.ready_of_run):
        router.include_router(routes)
    for routes in (*WITHOUT_DATABASE, *(WITH_DATABASE if with_database else ())):
        router.include_router(routes, dependencies=[READS])
    return router.routes


def _refuse_own_path(root_path: str) -> None:
    """Refuse a prefix that a path of the API begins with: a proxy might or might not have cut it off.

    Raises:
        ConfigError: naming the path.
    """
    routers = (operations.public, operations.ready, *WITHOUT_DATABASE, *WITH_DATABASE)
    for path in (PAGE, *(getattr(route, "path", "") for router in routers for route in router.routes)):
        if root_path and f"{path}/".startswith(f"{root_path}/"):
            raise ConfigError(f"FEDMEM_ROOT_PATH = {root_path!r} is where {path} of the API itself is: take another")


def _rate_limit(settings: Settings) -> SharedRateLimit | None:
    secret = settings.api_key.get_secret_value() if settings.api_key else ""
    return None if settings.rate_limit is None else SharedRateLimit(settings.rate_limit, secret)


def _refused(scope: Scope, detail: str) -> Response:
    return problem(scope, HTTPStatus.FORBIDDEN, detail)


def _lifespan(run: ServedModel | NodeFollower | None) -> Callable[[FastAPI], AbstractAsyncContextManager[None]] | None:
    """Choose what is done again and again while the application answers."""
    if isinstance(run, NodeFollower):
        return partial(_following, run)
    return _with_database if run is None else None


@asynccontextmanager
async def _following(node: NodeFollower, app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    async with anyio.create_task_group() as tasks:
        work = partial(node.look, state.served)
        tasks.start_soon(_keep_doing, work, state.ending, state.settings.refresh_seconds, "the node's files")
        try:
            yield
        finally:
            state.ending.set()


@asynccontextmanager
async def _with_database(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    services = state.services = Services.start(state.settings, state.served, state.http_metrics.registry)
    state.arrivals.keeper, state.impressions = services.keeper, services.impressions
    works = [services.keeper.look, services.keeper.changes.erase, services.note]
    if state.rate is not None:
        works.append(partial(state.rate.exchange, services.spendings.exchange))
    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(_keep_doing, work, state.ending, state.settings.refresh_seconds)
        try:
            yield
        finally:
            state.ending.set()
    services.close()


async def _keep_doing(
    work: Callable[[], None], ending: anyio.Event, seconds: float, source: str = "the database"
) -> None:
    """Read from and write to the source again and again; what is wrong with it is said once and not every time."""
    said = ""
    while not ending.is_set():
        wrong = await anyio.to_thread.run_sync(_wrong_with, work, ending, source)
        if wrong != said:
            LOG.error("%s", wrong) if wrong else LOG.info("%s answers again", source)
        said = wrong
        with anyio.move_on_after(seconds):
            await ending.wait()


class _Ending(BaseException):
    """The service ends; none of what the work puts up with."""


def _wrong_with(work: Callable[[], None], ending: anyio.Event, source: str) -> str:
    """Do it and say what is wrong, in a line; nothing if nothing is. What takes long is left where the service ends."""

    def go_on() -> None:
        if ending.is_set():
            raise _Ending

    try:
        with heeding(go_on):
            work()
    except _Ending:
        return ""
    except Exception as error:  # whatever it is, what is in service stays and the next time may find it mended
        return f"{source} could not be looked into: {type(error).__name__}: {error}"
    return ""
