"""What happens around every request: an id, limits, a line in the log, a count.

Plain ASGI, because every request pays for it.
"""

import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from os import urandom
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.concurrency_limit import ConcurrencyLimit
from backend.errors import KEY_NAME, REQUEST_ID, UNEXPECTED, NotReadyError, problem
from backend.logs import ACCESS
from backend.telemetry import HttpMetrics
from fedmem.logs import EXTRA, about
from web.rate_limit import RateLimit

LOG = logging.getLogger(__name__)
UNMATCHED = "(no route)"
# What a probe or a scraper asks for again and again is not limited.
UNLIMITED = ("/health/live", "/health/ready", "/metrics")
TOO_LONG = 413
REFUSED_UNIT = 10_000  # bytes of a body that was wrong, which count as a request
CLOSE = {"Connection": "close"}  # the rest of the body is not read
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_USABLE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


class RequestObserver:
    """Gives a request its id, writes its line in the access log, counts it, and answers for what failed inside.

    The line holds the route's template and neither path, query nor headers: no user's id and no key gets into a log.
    """

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self.app = app
        self.metrics = metrics
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = self.clock(), 0
        request_id = scope[REQUEST_ID] = _request_id(scope)
        header = (b"x-request-id", request_id.encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            with about(request_id=request_id):
                await self.app(scope, receive, send_with_id)
        except Exception:
            LOG.exception("a request failed", extra={EXTRA: {"request_id": request_id, "route": _route(scope)}})
            if status:  # too late for another answer: the server cuts the connection
                raise
            await problem(scope, HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)(scope, receive, send_with_id)
        finally:
            self._note(scope, request_id, status, self.clock() - started)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = _route(scope)
        self.metrics.count(method, route, status, seconds)
        if ACCESS.isEnabledFor(logging.INFO):
            fields: dict[str, Any] = {
                "request_id": request_id,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
            }
            if key := scope.get(KEY_NAME):
                fields["key"] = key
            ACCESS.info("request", extra={EXTRA: fields})


class RequestLimits:
    """Refuses bodies that are too long (413), clients that ask too often (429) and too many at once of one (503)."""

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int,
        longest: Mapping[str, int],
        rate: RateLimit | None,
        answered: ConcurrencyLimit,
    ) -> None:
        self.app = app
        self.max_body_bytes, self.longest = max_body_bytes, longest  # of most paths, and of those that take more
        self.rate = rate
        self.answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] in UNLIMITED:
            await self._within_limits(scope, receive, send)
            return
        if self.rate is not None and (wait := self.rate.take(client_of(scope))):
            await self._too_often(scope, wait)(scope, receive, send)
            return
        try:
            with self.answered.slot(client_of(scope)):
                await self._within_limits(scope, receive, send)
        except NotReadyError as error:
            await problem(scope, HTTPStatus.SERVICE_UNAVAILABLE, str(error))(scope, receive, send)

    async def _within_limits(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD"):  # no route reads a body there
            await self.app(scope, receive, send)
            return
        await self._with_body(scope, receive, send)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a long body by its Content-Length or, if there is none, once too much has arrived."""
        most, received = self.longest.get(scope["path"], self.max_body_bytes), 0
        too_long = f"the body is longer than {most} bytes; send less at once"
        if content_length(scope) > most:
            await problem(scope, TOO_LONG, too_long, CLOSE)(scope, receive, send)
            return

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise HTTPException(TOO_LONG, too_long, CLOSE)
            return message

        async def send_and_charge(message: Message) -> None:
            if self.rate is not None and message.get("status") == HTTPStatus.UNPROCESSABLE_ENTITY:
                self.rate.charge(client_of(scope), received // REFUSED_UNIT)
            await send(message)

        await self.app(scope, receive_some, send_and_charge)

    def _too_often(self, scope: Scope, wait: float) -> Response:
        assert self.rate is not None
        seconds = max(1, math.ceil(wait))
        detail = f"more than {self.rate.per_minute} requests a minute; ask again in {seconds} s"
        return problem(scope, HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": str(seconds)})


def client_of(scope: Scope) -> str:
    """Return the address by which a client's requests are counted."""
    return scope["client"][0] if scope.get("client") else ""


def _request_id(scope: Scope) -> str:
    """Take the client's id where it is harmless in a log, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if _USABLE_ID.fullmatch(value):
                return str(value, "ascii")
            break
    return urandom(8).hex()


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path_format", UNMATCHED)


def content_length(scope: Scope) -> int:
    """Return what a request says of the length of its body, 0 if it says nothing."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
