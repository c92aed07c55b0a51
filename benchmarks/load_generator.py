"""A generator of load: requests at an even rate, whether or not earlier ones were answered.

Requests are sent by a connection that speaks as much HTTP/1.1 as the backend does, because a full client would take
more of a small machine than the backend. A request's time is from when it is sent to when its answer is whole; how late
it was sent, because the machine had no time for this process, is told apart.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

TIMEOUT = 10.0
KEPT_SECONDS = 3.0  # the backend closes connections that are not used for five


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    path: str
    body: bytes = b""


@dataclass
class Load:
    """What became of the requests: seconds of those that were answered with 2xx, and how many were not, by reason."""

    seconds: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Load") -> None:
        """Add another load's requests."""
        self.seconds += other.seconds
        self.late += other.late
        self.wrong += other.wrong

    def milliseconds(self, percent: float) -> float:
        """Return a percentile of the answers' times."""
        return 1000 * float(np.percentile(self.seconds, percent))


class Connection:
    """A connection that is kept; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = time.perf_counter()

    @classmethod
    async def opened(cls, port: int) -> "Connection":
        """Connect to a backend on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: Request) -> tuple[int, bytes]:
        """Return status and body."""
        head = f"{request.method} {request.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if request.body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(request.body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + request.body)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        body = await self.reader.readexactly(length)
        self.used = time.perf_counter()
        return int(answer.split(b" ", 2)[1]), body

    def close(self) -> None:
        """Close without waiting."""
        self.writer.close()


class Generator:
    """Sends requests at an even rate over as many connections as it takes.

    Attributes:
        heard: called with each request that was answered with 2xx, and the answer's body.
    """

    def __init__(self, port: int, requests: Iterator[Request], rate: float) -> None:
        self.port = port
        self.requests = requests
        self.rate = rate
        self.heard: Callable[[Request, bytes], None] = lambda request, body: None
        self._idle: deque[Connection] = deque()

    async def run(self, going: Callable[[int], bool]) -> Load:
        """Send as long as ``going``, which is told how many were sent, and wait for the answers."""
        load, began, number = Load(), time.perf_counter(), 0
        async with asyncio.TaskGroup() as tasks:
            while going(number):
                due = began + number / self.rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                load.late.append(max(0.0, time.perf_counter() - due))
                tasks.create_task(self._send(next(self.requests), load))
                number += 1
        return load

    async def run_for(self, seconds: float) -> Load:
        """Send for so long."""
        count = round(self.rate * seconds)
        return await self.run(lambda sent: sent < count)

    async def _send(self, request: Request, load: Load) -> None:
        began = time.perf_counter()
        connection = None
        try:
            async with asyncio.timeout(TIMEOUT):
                connection = self._kept() or await Connection.opened(self.port)
                status, body = await connection.ask(request)
        except (OSError, EOFError, ValueError) as error:  # a timeout is an OSError
            load.wrong[type(error).__name__] += 1
            if connection is not None:
                connection.close()
            return
        self._idle.append(connection)
        if 200 <= status < 300:
            load.seconds.append(time.perf_counter() - began)
            self.heard(request, body)
        else:
            load.wrong[str(status)] += 1

    def _kept(self) -> Connection | None:
        """Return the connection used last, unless it has been idle so long that the backend may be closing it."""
        while self._idle:
            connection = self._idle.pop()
            if time.perf_counter() - connection.used < KEPT_SECONDS and not connection.reader.at_eof():
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Give the connections back."""
        while self._idle:
            self._idle.pop().close()


def recommendations(users: list[str]) -> Iterator[Request]:
    """Ask for the ten best items of a random user, again and again."""
    rng = np.random.default_rng(0)
    while True:
        yield Request("GET", f"/recommend/{users[int(rng.integers(len(users)))]}?k=10")
