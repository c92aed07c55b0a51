"""Errors as application/problem+json (RFC 9457): one table from class to status, never a stack trace."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from backend.first_model import first_model_hint
from backend.wrong_request import what_is_wrong
from fedmem.contracts import Problem
from fedmem.errors import (
    BucketError,
    CheckpointError,
    ConfigError,
    ConflictError,
    DataError,
    FeatureError,
    FedMemError,
    StorageError,
    TooMuchError,
    UnknownError,
)

if TYPE_CHECKING:
    from backend.services import Services

REQUEST_ID = "fedmem.request_id"  # where the middleware leaves it in the ASGI scope
KEY_NAME = "fedmem.key_name"  # likewise, the name of the key by which the request is allowed


class NotReadyError(FedMemError):
    """What is asked for cannot be answered yet."""


class NoModelError(NotReadyError):
    """A data set that is meant has no model in service, or is none at all."""

    def __init__(self, dataset: str, message: str) -> None:
        super().__init__(message)
        self.dataset = dataset


class ApiKeyError(FedMemError):
    """A request that needs a key came without one, or with an unknown one."""


class ForbiddenError(FedMemError):
    """A request that its sender may not make."""


# A subclass answers as the nearest class above it that stands here.
STATUS_OF: Mapping[type[FedMemError], HTTPStatus] = {
    ConfigError: HTTPStatus.UNPROCESSABLE_ENTITY,
    DataError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    ApiKeyError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    TooMuchError: HTTPStatus.TOO_MANY_REQUESTS,
    NotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    StorageError: HTTPStatus.SERVICE_UNAVAILABLE,
    BucketError: HTTPStatus.SERVICE_UNAVAILABLE,
    CheckpointError: HTTPStatus.SERVICE_UNAVAILABLE,
    FeatureError: HTTPStatus.SERVICE_UNAVAILABLE,
    FedMemError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
HEADERS_OF: Mapping[HTTPStatus, Mapping[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'ApiKey realm="fedmem", header="X-API-Key"'},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "3600"},
}
UNEXPECTED = "something went wrong here; the log says what, under this request id"


def status_of(error: FedMemError) -> HTTPStatus:
    """Look up what an error of ours means in HTTP."""
    return next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)


def problem(scope: Scope, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Make the answer that says what is wrong."""
    # A lone surrogate, which JSON can hold and UTF-8 cannot, is shown by its escape.
    detail = detail.encode("utf-8", "backslashreplace").decode()
    body = Problem(title=HTTPStatus(status).phrase, status=int(status), detail=detail, request_id=scope.get(REQUEST_ID))
    content = body.model_dump_json()
    return Response(content, status, {**HEADERS_OF.get(HTTPStatus(status), {}), **(headers or {})}, PROBLEM_JSON)


PROBLEM_JSON = "application/problem+json"


def add_error_handlers(app: FastAPI) -> None:
    """Turn every error of an application into a problem."""
    for kind in STATUS_OF:
        app.add_exception_handler(kind, _known)
    app.add_exception_handler(NoModelError, _no_model)
    app.add_exception_handler(RequestValidationError, _wrong_request)
    app.add_exception_handler(HTTPException, _http_error)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, FedMemError)
    return problem(request.scope, status_of(error), str(error))


async def _no_model(request: Request, error: Exception) -> Response:
    """Tell a data set that is not there from one that has no model yet, and say what will bring it one."""
    assert isinstance(error, NoModelError)
    services = getattr(request.app.state, "services", None)
    if services is None:  # one run alone is served
        return problem(request.scope, HTTPStatus.NOT_FOUND, str(error))
    try:
        how = await run_sync(_hint_for, services, error.dataset)
    except FedMemError as other:
        return await _known(request, other)
    return problem(request.scope, status_of(error), f"{error}: {how}")


def _hint_for(services: "Services", dataset: str) -> str:
    services.catalogue.require(dataset)
    return first_model_hint(services.jobs, services.catalogue, dataset)


async def _wrong_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(
        request.scope,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        what_is_wrong(error.errors(), request.headers.get("content-type")),
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(request.scope, error.status_code, _detail(request, error), error.headers)


def _detail(request: Request, error: HTTPException) -> str:
    docs = request.app.state.links.path("/docs")
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == HTTPStatus.NOT_FOUND.phrase:
        return f"there is nothing at {request.url.path}; {docs} lists what there is"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible here; allowed: {(error.headers or {}).get('Allow', f'see {docs}')}"
    return str(error.detail)
