"""Requests at an even rate while a job trains, for minutes: what goes wrong, how long answers take, and the memory.

``python -m benchmarks.load --rate 200 --seconds 600`` makes the demo, trains a first model, starts an endless job, and
asks the backend for recommendations of known users (nine of ten requests), for a history sent along, and for the job.
It says what went wrong, how long answers took, and how much memory the backend held at the start and at the end.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.load_generator import Generator, Load, Request, recommendations
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.product import DEMO, BenchmarkError, Product, Service, product
from fedmem.data.formats import read_dataset

WARM_UP = 5.0  # seconds, left out
PARTS = 10  # after each of which the backend's memory is read
FIRST_ROUNDS = 3  # of the model that answers


def mixed(users: list[str], items: list[str], beside: str) -> Iterator[Request]:
    """Ask mostly for the ten best of known users, some with reasons; some of a history; and what a dashboard asks."""
    rng, known = np.random.default_rng(0), recommendations(users)
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
            yield Request("GET", beside)


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


def put_first_model_into_service(made: Product, dataset: str = DEMO) -> None:
    """Stop a job after a few rounds and activate what it leaves."""
    job = made.queue_demo(dataset)
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
    generator = Generator(made.port, mixed(*users_and_items(made), f"/jobs/{job}"), rate)
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


def users_and_items(made: Product, dataset: str = DEMO) -> tuple[list[str], list[str]]:
    """Return the users and items of the demo, or of one like it."""
    interactions, items = read_dataset(made.data_dir / dataset)
    return sorted(set(interactions.users.tolist())), [item.item_id for item in items]


def main() -> None:
    """Print the record as JSON."""
    parser = keeping_parser("load", __doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=600.0, help="for how long")
    asked = parser.parse_args()
    record = load(asked.rate, asked.seconds)
    tell("load", record, asked.keep)


if __name__ == "__main__":
    main()
