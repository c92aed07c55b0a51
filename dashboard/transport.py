"""HTTP beneath the API's calls: contracts in, contracts out, and one sentence for whatever goes wrong."""

from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError

from fedmem.contracts import Problem
from fedmem.contracts.contract import Contract

C = TypeVar("C", bound=Contract)
TIMEOUT = httpx.Timeout(10.0, connect=2.0)


class BackendError(Exception):
    """The backend did not do what it was asked. The message is a sentence for the user."""


class BackendAwayError(BackendError):
    """The backend does not answer."""


class RefusedError(BackendError):
    """The backend answered with a problem."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status

    @property
    def passes(self) -> bool:
        """Say whether it may be answered a moment later: the trouble is the backend's, or it was too much at once."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class HttpClient:
    """One connection pool for all sessions; httpx's client is thread-safe."""

    def __init__(self, base_url: str, key: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"X-API-Key": key} if key else {}
        self.base_url = base_url
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=TIMEOUT, transport=transport)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _get(self, contract: type[C], path: str, **query: Any) -> C:
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask(contract, self._http.build_request("GET", path, params=given))

    def _post(
        self,
        contract: type[C],
        path: str,
        body: Contract | None = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> C:
        content = None if body is None else body.model_dump_json(exclude_unset=True)
        request = self._http.build_request(
            method, path, content=content, headers={"Content-Type": "application/json", **(headers or {})}
        )
        return self._ask(contract, request)

    def _ask(self, contract: type[C], request: httpx.Request) -> C:
        response = self._send(request)
        if response.is_error:
            raise refused(response)
        try:
            return contract.model_validate_json(response.content)
        except ValidationError as error:
            raise BackendError(
                f"The backend at {self.base_url} answers in a form that this dashboard does not know "
                f"({contract.__name__}): start both from the same version."
            ) from error

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._http.send(request)
        except httpx.TimeoutException as error:
            raise BackendAwayError(f"The backend at {self.base_url} takes too long to answer.") from error
        except httpx.TransportError as error:
            raise BackendAwayError(f"The backend at {self.base_url} does not answer.") from error

    def _delete(self, path: str, **query: str) -> None:
        response = self._send(self._http.build_request("DELETE", path, params=query))
        if response.is_error:
            raise refused(response)


def refused(response: httpx.Response) -> RefusedError:
    """Say why, and where the dashboard takes its key from if that is what is wrong."""
    detail = _detail(response)
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        detail += " The dashboard sends the key in FEDMEM_API_KEY: set it, in .env say, and start the dashboard again."
    return RefusedError(response.status_code, detail)


def _detail(response: httpx.Response) -> str:
    """Extract the sentence of a problem, or at least its status."""
    try:
        return Problem.model_validate_json(response.content).detail
    except ValidationError:
        return f"The backend answered {response.status_code} {response.reason_phrase}."
