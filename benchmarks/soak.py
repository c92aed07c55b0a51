"""An hour of the whole product in use: whether anything fails, and whether its memory and its disk stay as they are.

    python -m benchmarks.soak --minutes 60 [--data data/ml-100k] [--keep]

``fedmem up`` serves MovieLens 100K. Its newest interactions are held back and come in as feedback over the hour, at an
even rate; a schedule lets the model in service go on with what has come, for a few rounds, and is run again as soon as
a night's job has ended; each model goes into service. Users, with reasons or without, and histories are asked for, 50 a
second, and every second a click on one of the answers is told. Five tabs of a real browser turn to the night's job once
a minute. Few jobs and few noted answers are kept, as an operator's settings say.

errors          answers other than 2xx, events that were refused, nights that did not succeed, what a tab showed as a
                warning or an error, lines of the services' logs of the level ERROR, services that were started again.
memory growth   of each service: the median of the last sixth of the minutes over that of the second sixth (of an hour:
                minutes 51 to 60 over 11 to 20), less one. A minute's memory is the greatest of its samples, one every
                five seconds, of RSS; PSS, which stands beside it, also depends on who else has a library loaded.
disk growth     likewise, of the jobs' folder, the database, the encoders' cache and the logs, and of all together.
"""

import asyncio
import os
import statistics
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import mixed
from benchmarks.load_generator import Generator, Load
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.product import product
from benchmarks.simulate import find_movielens
from benchmarks.soak_work import DATASET, Event, Work
from benchmarks.watch import SERVICES, Watch
from fedmem.data.demo import write_demo
from fedmem.data.formats import read_dataset
from fedmem.data.interactions import Interactions

RATE = 50.0  # requests a second
GOAL = 0.05
HELD_BACK = 0.05  # of the interactions
SETTINGS = {
    "FEDMEM_KEEP_JOBS": "4",
    "FEDMEM_IMPRESSIONS": "0.2",
    "FEDMEM_MAX_IMPRESSIONS": "20000",
}
BESIDE = "/jobs?limit=5"  # what is asked for besides recommendations
Row = dict[str, Any]


def soak(minutes: int, data: Path | None) -> dict[str, Any]:
    """Measure everything; return one record."""
    with product() as made:
        interactions, items = read_dataset(data or write_demo(made.folder / "demo"))
        before, events = parted(interactions.without_duplicates())
        made.store(DATASET, before, items)
        cache = made.folder / "cache"
        made.start("cli", "up", "--no-train", "--port", str(made.port), "--dashboard-port", str(made.port + 1),
                   "--data-dir", str(made.data_dir), FEDMEM_CACHE_DIR=str(cache), **SETTINGS)  # fmt: skip
        made.wait(lambda: made.answers("/health/live"), "the backend")
        work, watch = Work(made, events, 60.0 * minutes), Watch(made, cache)
        work.train_first()
        asked = mixed(sorted(set(interactions.users.tolist())), [item.item_id for item in items], BESIDE)
        rows = watched(Generator(made.port, asked, RATE), work, watch, minutes)
        return record_of(rows, work, watch, machine())


def parted(interactions: Interactions) -> tuple[Interactions, list[Event]]:
    """Hold the newest interactions back, and make them events, oldest first."""
    order = np.argsort(interactions.timestamps, kind="stable")
    first, held = np.split(order, [round(len(order) * (1 - HELD_BACK))])
    users, items, times = interactions.users, interactions.items, interactions.timestamps
    events = [{"user_id": users[n], "item_id": items[n], "timestamp": int(times[n])} for n in held]
    return Interactions(users[first], items[first], times[first]), events


def watched(generator: Generator, work: Work, watch: Watch, minutes: int) -> list[Row]:
    """Send requests while all else goes on, and make a row each minute."""
    generator.heard = work.hear
    sampling = threading.Thread(target=watch.run)
    sampling.start()
    try:
        with work.going_on():
            return asyncio.run(minute_by_minute(generator, work, watch, minutes))
    finally:
        watch.ending.set()
        sampling.join()


async def minute_by_minute(generator: Generator, work: Work, watch: Watch, minutes: int) -> list[Row]:
    """Send for a minute, and look; again and again."""
    rows = []
    for minute in range(1, minutes + 1):
        rows.append({"minute": minute} | row_of(await generator.run_for(60.0), work, watch))
        sys.stderr.write(f"{rows[-1]} {dict(work.wrong)}\n")
    generator.close()
    return rows


def row_of(load: Load, work: Work, watch: Watch) -> Row:
    """Put a minute's figures together."""
    work.wrong.update(load.wrong)
    work.wrong.update(watch.new_errors())
    work.done["requests"] += len(load.seconds)
    return {
        "errors": work.wrong.total() + watch.restarts().total(),
        "p50_ms": round(load.milliseconds(50), 1),
        "p99_ms": round(load.milliseconds(99), 1),
        "nights": work.done["nights"],
        "memory_mib": watch.memory(),
        "disk_mib": watch.disk(),
        "load": round(os.getloadavg()[0], 1),
    }


def record_of(rows: list[Row], work: Work, watch: Watch, on: dict[str, Any]) -> dict[str, Any]:
    """Tell what went wrong, and what has grown."""
    wrong = work.wrong + watch.new_errors() + watch.restarts()
    disks = {name: [row["disk_mib"][name] for row in rows] for name in rows[0]["disk_mib"]}
    disks["together"] = [sum(row["disk_mib"].values()) for row in rows]
    return {
        "minutes": len(rows),
        "done": dict(sorted(work.done.items())),
        "errors": wrong.total(),
        "errors_by_reason": dict(wrong),
        "memory_growth": {name: growth(row["memory_mib"][name]["rss"] for row in rows) for name in SERVICES},
        "goal": GOAL,
        "disk_growth": {name: growth(taken) for name, taken in disks.items()},
        "by_minute": rows,
        "settings": SETTINGS,
        "machine": on,
    }


def growth(values: Iterable[float]) -> float | None:
    """Return what the last sixth's median is above the second's, as a share; None where there is no second."""
    found = list(values)
    sixth = len(found) // 6
    if not sixth:
        return None
    before, after = statistics.median(found[sixth : 2 * sixth]), statistics.median(found[-sixth:])
    return round(after / before - 1, 4) if before else None


def main() -> None:
    """Print the record as JSON; the exit code is 1 if anything failed or a service's memory grew beyond the goal."""
    parser = keeping_parser("soak", __doc__)
    parser.add_argument("--minutes", type=int, default=60, help="for how long")
    parser.add_argument("--data", type=Path, default=find_movielens(), help="MovieLens 100K; without it the demo")
    asked = parser.parse_args()
    record = soak(asked.minutes, asked.data)
    tell("soak", record, asked.keep)
    sys.exit(record["errors"] > 0 or any((grown or 0) > GOAL for grown in record["memory_growth"].values()))


if __name__ == "__main__":
    main()
