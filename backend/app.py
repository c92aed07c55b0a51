"""The FastAPI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from backend.errors import add_error_handlers
from backend.middleware import Limited, Observed
from backend.openapi import TAGS, document, operation_id
from backend.rate_limit import RateLimit
from backend.routers import jobs, operations, progress
from backend.services import Services
from backend.settings import Settings
from backend.telemetry import HttpMetrics
from fedmem import __version__


def create_app(settings: Settings) -> FastAPI:
    """The application: it answers as long as its lifespan lasts."""
    app = FastAPI(
        title="FedMem",
        version=__version__,
        summary="Recommendations from a federated model whose users keep their data.",
        description="Errors are application/problem+json (RFC 9457) and name the request's id, which the log has too.",
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        lifespan=_lifespan,
    )
    app.state.settings = settings
    app.state.http_metrics = HttpMetrics.create()
    app.state.ending = anyio.Event()
    for routes in (operations.public, jobs.router, progress.router, operations.router):
        app.include_router(routes)
    app.add_api_route("/", _documentation, include_in_schema=False)
    app.openapi = partial(document, app)  # type: ignore[method-assign]
    add_error_handlers(app)
    rate = None if settings.rate_limit is None else RateLimit(settings.rate_limit)
    # The last one added is the first to see a request.
    app.add_middleware(Limited, max_body_bytes=settings.max_body_bytes, rate=rate)
    app.add_middleware(Observed, metrics=app.state.http_metrics)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.services = Services.start(app.state.settings)
    try:
        yield
    finally:
        app.state.ending.set()
        app.state.services.close()


async def _documentation() -> RedirectResponse:
    return RedirectResponse("/docs")
