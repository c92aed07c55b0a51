"""Connections whose callers keep the service waiting: each for so long only, and so many of them at most."""

import asyncio
import math
import resource
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from web.settings import WebSettings

if TYPE_CHECKING:
    from web.websockets import PatientWebSocket

BACKLOG = 100  # connections that are accepted in one turn of the event loop
UNCOUNTED = 3 * BACKLOG  # one is accepted, given a transport and counted in three turns
OWN_FILES = 128  # that the process has open besides: the database, checkpoints, libraries
SOON = 1.0  # seconds within which whoever has just come is not late, and pages of the dashboard give way first
PART = 2**20  # bytes of a body that may take as long as a body
LAST_SECONDS = 2.0  # that an answer has which is the last of a connection
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n"


@dataclass(eq=False)
class Patience:
    """What a server puts up with; one for all of its connections.

    Attributes:
        head_seconds: for a request's head, and for the rest of a body that is not read any more.
        body_seconds: for each MiB of a request's body, and for an answer that the caller does not read.
        most: connections.
        waiting: those that owe the server bytes, who began to wait first is first.
        websocket_seconds: for a message of a websocket, in either direction.
        websockets: those that are open, which has been silent for longest is first.
    """

    head_seconds: float
    body_seconds: float
    most: int
    waiting: "dict[PatientProtocol, None]" = field(default_factory=dict)
    websocket_seconds: float = math.inf
    websockets: "dict[PatientWebSocket, None]" = field(default_factory=dict)

    @classmethod
    def of(cls, settings: WebSettings) -> "Patience":
        """Take as many connections as the settings and this process's limit of open files allow."""
        most = open_files(settings.max_connections + UNCOUNTED + OWN_FILES) - UNCOUNTED - OWN_FILES
        most = max(1, min(settings.max_connections, most))
        return cls(settings.head_seconds, settings.body_seconds, most, websocket_seconds=settings.websocket_seconds)

    def longest_silent(self) -> "PatientWebSocket | None":
        """Find which websocket gives way to a caller: of the address that has most of them, unless each has one."""
        if not self.websockets:
            return None
        ((address, count),) = Counter(one.address for one in self.websockets).most_common(1)
        return None if count == 1 else next(one for one in self.websockets if one.address == address)


def open_files(wanted: int) -> int:
    """Raise the limit of files that this process may open, where it is lower, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


class PatientConfig(Config):
    """uvicorn's configuration, and how patient its connections are."""

    def __init__(self, app: Any, settings: WebSettings, **options: Any) -> None:
        super().__init__(app, http=PatientProtocol, backlog=BACKLOG, **options)
        self.patience = Patience.of(settings)


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, which alone waits for heads, bodies and readers without an end, however many they are."""

    config: PatientConfig

    def __init__(
        self,
        config: PatientConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.patience = config.patience
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._owes = ""  # what the caller is to send: the head, the body, nothing
        self._since = 0.0  # when it began to owe that
        self._arrived = 0  # bytes of it
        self._is_http = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head, in the place of whom there is no room for."""
        super().connection_made(transport)
        self._wait_for("head")
        if len(self.connections) > self.patience.most:
            self._make_room()

    def _make_room(self) -> None:
        longest = next(iter(self.patience.waiting))
        late = self.loop.time() - longest._since > SOON
        if not late and (websocket := self.patience.longest_silent()):
            websocket.give_way()
        elif longest is not self:
            longest._close(TOO_SLOW)
        else:  # all others are being answered
            self._close(TOO_MANY)

    def data_received(self, data: bytes) -> None:
        """Find out what the caller owes after these bytes."""
        super().data_received(data)
        if self._is_http and not self.transport.is_closing():
            self._wait_for(self._owed(), len(data))

    def on_response_complete(self) -> None:
        """Wait for the rest of a body that was not read; for the next head uvicorn waits by itself until it begins."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait_for(self._owed())

    def _owed(self) -> str:
        if self.cycle is None or self.cycle.response_complete:
            return "head"
        return "body" if self.conn.their_state is h11.SEND_BODY else ""

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection on; from here on the websocket's own protocol asks whether its other end is there."""
        self._is_http = False
        self._forget()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._forget()
        self._read_on()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait until the caller reads on."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.patience.body_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        self._read_on()
        super().resume_writing()

    def _read_on(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _wait_for(self, owed: str, arrived: int = 0) -> None:
        """Give the caller time for what is new; more bytes of the same give no more time, but for a part of a body."""
        self._arrived += arrived
        if owed == self._owes and (owed != "body" or self._arrived < PART):
            return
        self._forget()
        self._owes = owed
        if owed:
            self._since = self.loop.time()
            self.patience.waiting[self] = None
            seconds = self.patience.head_seconds if owed == "head" else self.patience.body_seconds
            self._deadline = self.loop.call_later(seconds, self._close, TOO_SLOW)

    def _forget(self) -> None:
        self._owes, self._arrived = "", 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.patience.waiting.pop(self, None)

    def _close(self, last_words: bytes) -> None:
        """End the connection, with an answer where none has begun; who does not read that is not waited for either."""
        self._forget()
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started:
            self.transport.write(last_words)
        self.transport.close()
        self.loop.call_later(LAST_SECONDS, self.transport.abort)
