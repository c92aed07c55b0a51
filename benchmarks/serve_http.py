"""R4, R5, R6 and R9: the speed of GET /recommend over a socket, as ratios in one interleaved run.

The backend is a process of its own, as the product starts it, on an SQLite database. The model in service has 3,706
items, the text, visual and sequential experts, and users with long histories and full memories, all drawn.

r4  CPU time of the backend's process per GET /recommend of a user who was not asked for before, over that of a
    hello-world route of the same application: the same server, middleware, log and counters; a request at a time over
    one connection.
r5  the same for users whose vectors are known from the first time.
r6  the 99th percentile of the time until an answer is whole while a trainer trains the demo, over that while the
    trainer stands still: it is halted and let go on turn by turn (SIGSTOP, SIGCONT), under an even load.
r9  the same during 20 activations of other models, each read from disk, over that without any. Besides, how many
    requests were not answered with 2xx meanwhile, activations included (r9_errors).
"""

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice

from benchmarks.drawn_models import MODELS, store_models, version_of
from benchmarks.http_server import CPU, HELLO
from benchmarks.load_generator import Connection, Generator, Load, Request, recommendations
from benchmarks.product import BenchmarkError, Product, Service, product

GOALS = {"r4": 5.0, "r5": 2.5, "r6": 1.5, "r9": 2.0, "r9_errors": 0}
WHAT = {
    "r4": "CPU of the first GET /recommend of a user, of a hello-world route",
    "r5": "the same, user vector known",
    "r6": "p99 of GET /recommend while a job trains, of that without",
    "r9": "p99 during 20 model swaps, of that without",
    "r9_errors": "requests not answered with 2xx meanwhile",
}
Sides = dict[str, list[float]]
Advance = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    items: int = 3706
    turns: int = 15  # of R4 and R5, besides the first, which warms up
    per_turn: int = 60  # users
    rate: float = 100.0  # requests a second of R6 and R9
    seconds: float = 4.0  # of one side's turn
    training_turns: int = 6
    swapping_turns: int = 5
    swaps_per_turn: int = 4
    swap_seconds: float = 1.0  # from one activation to the next

    @property
    def users(self) -> list[str]:
        """Enough that every turn has its own."""
        return [str(user) for user in range((self.turns + 1) * self.per_turn)]


def serve_http(sizes: Sizes | None = None, advance: Advance = lambda *_: None) -> dict[str, float]:
    """Measure everything; return one record."""
    sizes = sizes or Sizes()
    with product() as made:
        advance("measuring over HTTP", 0, 4)
        store_models(made, sizes.items, len(sizes.users))
        made.store_demo()
        made.start("benchmarks.http_server")
        made.wait(lambda: made.answers("/health/ready"), "a model in service")
        return asyncio.run(measured(made, sizes, advance))


async def measured(made: Product, sizes: Sizes, advance: Advance) -> dict[str, float]:
    """Measure R4 and R5, R9, then R6, whose trainer starts only then."""
    advance("measuring over HTTP", 1, 4)
    record = await cpu_of_requests(made.port, sizes)
    async with generator_of(made.port, sizes) as generator:
        advance("measuring over HTTP", 2, 4)
        record |= await while_swapping(made, generator, sizes)
        advance("measuring over HTTP", 3, 4)
        trainer = made.start("trainer")
        job = made.queue_demo()
        await asyncio.to_thread(made.wait, lambda: made.rounds(job) >= 1, "a round of training")
        record |= await while_training(made, generator, trainer, job, sizes)
    advance("measuring over HTTP", 4, 4)
    return record


@asynccontextmanager
async def generator_of(port: int, sizes: Sizes) -> AsyncIterator[Generator]:
    """Start a steady load of recommendations for all users, and warm it up."""
    generator = Generator(port, recommendations(sizes.users), sizes.rate)
    await generator.run_for(sizes.seconds / 2)
    try:
        yield generator
    finally:
        generator.close()


# R4, R5


async def cpu_of_requests(port: int, sizes: Sizes) -> dict[str, float]:
    """Measure CPU of a user's first and second request, turn by turn with the hello-world."""
    connection = await Connection.opened(port)
    milliseconds: Sides = {"hello": [], "first": [], "known": []}
    for turn in range(sizes.turns + 1):
        users = sizes.users[turn * sizes.per_turn : (turn + 1) * sizes.per_turn]
        recommend = [f"/recommend/{user}?k=10" for user in users]
        for side, paths in (("hello", [HELLO] * len(users)), ("first", recommend), ("known", recommend)):
            cpu = await cpu_of(connection, paths)
            if turn:
                milliseconds[side].append(1000 * cpu / len(paths))
    connection.close()
    hello, first, known = (statistics.median(milliseconds[side]) for side in ("hello", "first", "known"))
    return {
        "r4": first / hello,
        "r5": known / hello,
        "hello_cpu_ms": hello,
        "first_cpu_ms": first,
        "known_cpu_ms": known,
    }


async def cpu_of(connection: Connection, paths: Sequence[str]) -> float:
    """Measure CPU seconds of the backend's process for these requests."""
    before = float(await answer(connection, CPU))
    for path in paths:
        await answer(connection, path)
    return float(await answer(connection, CPU)) - before


async def answer(connection: Connection, path: str) -> bytes:
    """Return the body; BenchmarkError for anything but 200."""
    status, body = await connection.ask(Request("GET", path))
    if status != 200:
        raise BenchmarkError(f"GET {path} was answered with {status}: {body.decode()}")
    return body


# R6


async def while_training(
    made: Product, generator: Generator, trainer: Service, job: int, sizes: Sizes
) -> dict[str, float]:
    """Measure the load, turn by turn without and with a trainer that runs.

    Raises:
        BenchmarkError: if the job got no further.
    """
    idle, training, before = Load(), Load(), made.rounds(job)
    for _ in range(sizes.training_turns):
        trainer.halt()
        idle.add(await generator.run_for(sizes.seconds))
        trainer.go_on()
        training.add(await generator.run_for(sizes.seconds))
        trainer.check()
    rounds = made.rounds(job) - before
    if not rounds:
        raise BenchmarkError("the trainer finished no round while it was measured")
    refuse_errors(idle, training)
    return percentiles("r6", training, idle) | {"r6_rounds": float(rounds)}


def refuse_errors(*loads: Load) -> None:
    """Raise BenchmarkError if a request was not answered: a missing answer has no percentile."""
    for load in loads:
        if load.wrong:
            raise BenchmarkError(f"requests went wrong: {dict(load.wrong)}")


# R9


async def while_swapping(made: Product, generator: Generator, sizes: Sizes) -> dict[str, float]:
    """Measure the load, turn by turn without and with activations."""
    idle, swapping = Load(), Load()
    versions = cycle([version_of(job) for job in range(1, MODELS + 1)])
    activated: list[int] = []
    for _ in range(sizes.swapping_turns):
        idle.add(await generator.run_for(sizes.seconds))
        statuses, load = await swapped(made.port, generator, list(islice(versions, sizes.swaps_per_turn)), sizes)
        activated += statuses
        swapping.add(load)
    refuse_errors(idle)
    refused = sum(status != 200 for status in activated)
    return percentiles("r9", swapping, idle) | {
        "r9_errors": float(swapping.wrong.total() + refused),
        "r9_swaps": float(len(activated)),
    }


async def swapped(port: int, generator: Generator, versions: Sequence[str], sizes: Sizes) -> tuple[list[int], Load]:
    """Run the load while these versions are activated; return the statuses of the activations, and the load."""
    swaps = asyncio.create_task(swap(port, versions, sizes))
    load = await generator.run(lambda _: not swaps.done())
    return await swaps, load


async def swap(port: int, versions: Sequence[str], sizes: Sizes) -> list[int]:
    """Activate one version after another; return the statuses of the answers."""
    statuses = []
    for version in versions:
        connection = await Connection.opened(port)
        pause = asyncio.create_task(asyncio.sleep(sizes.swap_seconds))
        statuses.append((await connection.ask(Request("POST", f"/models/{version}/activate")))[0])
        connection.close()
        await pause
    return statuses


def percentiles(name: str, side: Load, idle: Load) -> dict[str, float]:
    """Return the ratio of both sides' p99, and what it is made from."""
    return {
        name: side.milliseconds(99) / idle.milliseconds(99),
        f"{name}_p50_ms": side.milliseconds(50),
        f"{name}_p99_ms": side.milliseconds(99),
        f"{name}_idle_p50_ms": idle.milliseconds(50),
        f"{name}_idle_p99_ms": idle.milliseconds(99),
        f"{name}_requests": float(len(side.seconds)),
    }
