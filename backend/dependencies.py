"""What a route may ask for. Async, because FastAPI runs sync dependencies in a thread each."""

from hmac import compare_digest
from typing import Annotated

import anyio
from fastapi import Depends, Path, Request, Security
from fastapi.security import APIKeyHeader

from backend.errors import ApiKeyError
from backend.services import Services
from backend.settings import Settings
from fedmem.storage.jobs import JobStore
from fedmem.storage.metrics import MetricStore

LARGEST_ID = 2**63 - 1  # of a database's row
_key_header = APIKeyHeader(
    name="X-API-Key", auto_error=False, description="The value of FEDMEM_API_KEY, where that is set."
)


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _ending(request: Request) -> anyio.Event:
    ending: anyio.Event = request.app.state.ending
    return ending


CurrentServices = Annotated[Services, Depends(_services)]
CurrentSettings = Annotated[Settings, Depends(_settings)]
Ending = Annotated[anyio.Event, Depends(_ending)]


async def _jobs(services: CurrentServices) -> JobStore:
    return services.jobs


async def _metrics(services: CurrentServices) -> MetricStore:
    return services.metrics


async def _may_write(settings: CurrentSettings, given: Annotated[str | None, Security(_key_header)]) -> None:
    if settings.api_key is None:
        return
    if given is None:
        raise ApiKeyError("this request writes: send the header X-API-Key with the value of FEDMEM_API_KEY")
    if not compare_digest(given.encode("latin-1"), settings.api_key.get_secret_value().encode()):
        raise ApiKeyError("the value of X-API-Key is not the one in FEDMEM_API_KEY")


Jobs = Annotated[JobStore, Depends(_jobs)]
Metrics = Annotated[MetricStore, Depends(_metrics)]
WRITES = Depends(_may_write)
JobId = Annotated[int, Path(ge=1, le=LARGEST_ID, description="The job's number.", examples=[1])]
