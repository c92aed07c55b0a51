"""Load: requests at an even rate whether or not earlier ones were answered, while a job trains.

``python -m benchmarks.load --rate 200 --seconds 600`` makes the demo, trains a first model, starts an endless job, and
asks the backend for recommendations of known users (nine of ten requests), for a history sent along, and for the job.
It says what went wrong, how long answers took, and how much memory the backend held at the start and at the end.

Requests are sent by a connection that speaks as much HTTP/1.1 as the backend does, because a full client would take
more of a small machine than the backend. A request's time is from when it is sent to when its answer is whole; how late
it was sent, because the machine had no time for this process, is told apart.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.measure import machine, write_result
from benchmarks.product import DEMO, BenchmarkError, Product, Service, product
from fedmem.data.formats import read_dataset

TIMEOUT = 10.0
KEPT_SECONDS = 3.0  # the backend closes connections that are not used for five
WARM_UP = 5.0  # seconds, left out
PARTS = 10  # after each of which the backend's memory is read
FIRST_ROUNDS = 3  # of the model that answers


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
    """Sends requests at an even rate over as many connections as it takes."""

    def __init__(self, port: int, requests: Iterator[Request], rate: float) -> None:
        self.port = port
        self.requests = requests
        self.rate = rate
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
                status, _ = await connection.ask(request)
        except (OSError, EOFError, ValueError) as error:  # a timeout is an OSError
            load.wrong[type(error).__name__] += 1
            if connection is not None:
                connection.close()
            return
        self._idle.append(connection)
        if 200 <= status < 300:
            load.seconds.append(time.perf_counter() - began)
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


def recommendations(users: list[str], seed: int = 0) -> Iterator[Request]:
    """Ask for the ten best items of a random user, again and again."""
    rng = np.random.default_rng(seed)
    while True:
        yield Request("GET", f"/recommend/{users[int(rng.integers(len(users)))]}?k=10")


def mixed(users: list[str], items: list[str], job: int, seed: int = 0) -> Iterator[Request]:
    """Ask mostly for the ten best of known users, some with reasons; some of a history; and what the dashboard asks."""
    rng, known = np.random.default_rng(seed), recommendations(users, seed)
    while True:
        drawn = rng.random()
        if drawn < 0.85:
            yield next(known)
        elif drawn < 0.90:
            yield Request("GET", f"{next(known).path}&explain=true")
        elif drawn < 0.98:
            history = rng.choice(items, 20, replace=False).tolist()
            yield Request("POST", "/recommend", json.dumps({"history": history}).encode())
        else:
            yield Request("GET", f"/jobs/{job}")


def load(rate: float, seconds: float, warm_up: float = WARM_UP) -> dict[str, Any]:
    """Measure everything; return one record."""
    with product() as made:
        made.store_demo()
        backend = made.start("backend")
        made.wait(lambda: made.answers("/health/live"), "the backend")
        made.start("trainer")
        put_first_model_into_service(made)
        job = made.queue_demo()
        made.wait(lambda: made.rounds(job) >= 1, "a round of training")
        found = asyncio.run(under_load(made, backend, job, rate, seconds, warm_up))
        return found | {"machine": machine()}


def put_first_model_into_service(made: Product) -> None:
    """Stop a job after a few rounds and activate what it leaves."""
    job = made.queue_demo()
    made.wait(lambda: made.rounds(job) >= FIRST_ROUNDS, "the first rounds")
    with made.client as client:
        client.post(f"/jobs/{job}/stop").raise_for_status()
        made.wait(lambda: client.get(f"/jobs/{job}").json()["model_version"], "the first model")
        version = client.get(f"/jobs/{job}").json()["model_version"]
        client.post(f"/models/{version}/activate").raise_for_status()


async def under_load(
    made: Product, backend: Service, job: int, rate: float, seconds: float, warm_up: float
) -> dict[str, Any]:
    """Send, and read the backend's memory after the warm-up and ten times until the end.

    Raises:
        BenchmarkError: if the job did not train meanwhile.
    """
    generator = Generator(made.port, mixed(*users_and_items(made), job), rate)
    await generator.run_for(warm_up)
    rounds, memory, found, began = made.rounds(job), [backend.resident_mib()], Load(), time.perf_counter()
    for _ in range(PARTS):
        found.add(await generator.run_for(seconds / PARTS))
        memory.append(backend.resident_mib())
    took = time.perf_counter() - began
    generator.close()
    if (trained := made.rounds(job) - rounds) < 1:
        raise BenchmarkError(f"job {job} finished no round in {seconds:.0f} seconds; choose more --seconds")
    return {
        "requests": len(found.seconds) + found.wrong.total(),
        "per_second": (len(found.seconds) + found.wrong.total()) / took,
        "errors": found.wrong.total(),
        "errors_by_reason": dict(found.wrong),
        "p50_ms": found.milliseconds(50),
        "p99_ms": found.milliseconds(99),
        "late_p99_ms": 1000 * float(np.percentile(found.late, 99)),
        "rounds_trained": trained,
        "memory_mib_start": memory[0],
        "memory_mib_end": memory[-1],
        "memory_mib": memory,
    }


def users_and_items(made: Product) -> tuple[list[str], list[str]]:
    """Return the demo's users and items."""
    interactions, items = read_dataset(made.data_dir / DEMO)
    return sorted(set(interactions.users.tolist())), [item.item_id for item in items]


def main() -> None:
    """Print the record as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=600.0, help="for how long")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/load.json too")
    asked = parser.parse_args()
    record = load(asked.rate, asked.seconds)
    if asked.keep:
        write_result("load", record)
    sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
