"""Hostile load on the whole product, for minutes: what a well-behaved client gets meanwhile.

    python -m benchmarks.hostile --minutes 60

``fedmem up`` runs on two data sets, with a model of each in service. A well-behaved client asks for recommendations of
both in turn, 20 a second. From another address of this machine come half-open connections, feedback of one user without
end, more of the largest batches at a time than may wait, of known users and of histories, streams of events and pages
of the dashboard beyond their numbers, what is read of the whole memory, and uploads: bodies that do not end, traps, and
files whose import is ended half-way. Of both data sets jobs are posted that are
too large, that diverge, that never end, whose row is damaged or whose folder is lost, each followed by a whole one,
whose model is promoted at once or by the gate; models go into service and back. The trainer is killed (SIGKILL), and
the disk of the checkpoints is filled and emptied, where a small file system can be mounted (Linux, as root). Every
answer of the well-behaved client must succeed. Everything stays on this machine.
"""

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.attack_jobs import children_of
from benchmarks.attack_uploads import UploadAttack
from benchmarks.load import put_first_model_into_service
from benchmarks.load_generator import Generator, Load, Request, recommendations
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.product import DEMO, PATIENCE, Product, product, resident_mib

RATE = 20.0  # requests a second of the well-behaved client
DISK_MIB = 400
SECOND, SEED, USERS = "second", 7, 300  # the other data set: other films under the same ids
BATCHES = 3  # callers at a time, of each kind of batch: together more than one address may have


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system there, where that is possible; whether it was."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(mount, check=True, capture_output=True)
        try:
            yield True
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)
        return
    yield False


def hostile(minutes: float) -> dict[str, Any]:
    """Measure everything; return one record."""
    with product() as made, small_disk(made.data_dir / "jobs") as mounted:
        made.start("cli", "up", "--no-train", "--port", str(made.port), "--dashboard-port", str(made.port + 1),
                   "--data-dir", str(made.data_dir))  # fmt: skip
        made.wait(lambda: made.answers("/health/live"), "the backend")
        made.store_demo(SECOND, seed=SEED, num_users=USERS)
        for dataset in (DEMO, SECOND):
            put_first_model_into_service(made, dataset)
        attack = UploadAttack(made, (DEMO, SECOND))
        threads = [threading.Thread(target=kind) for kind in kinds_of(attack, mounted)]
        for thread in threads:
            thread.start()
        try:
            load = asyncio.run(Generator(made.port, in_turn(attack), RATE).run_for(60 * minutes))
        finally:
            attack.ending.set()
            for thread in threads:
                thread.join()
            size = size_of(made)
            made.running[0].process.terminate()  # before its disk goes
            made.running[0].process.wait(PATIENCE)
        return record_of(minutes, load, attack, mounted) | size


def kinds_of(attack: UploadAttack, mounted: bool) -> list[Callable[[], None]]:
    """List the attacks that are made side by side."""
    connections = [attack.half_open, attack.streams, attack.pages, attack.visit]
    requests = [
        attack.flood,
        attack.heavy_reads,
        attack.uploads,
        attack.slow_uploads,
        *BATCHES * [attack.batches, attack.histories],
    ]
    return [*connections, *requests, attack.jobs, attack.swaps, attack.kills, *([attack.disk] if mounted else [])]


def in_turn(attack: UploadAttack) -> Iterator[Request]:
    """Ask for recommendations of each data set in turn."""
    asked = {dataset: recommendations(users) for dataset, (users, _) in attack.known.items()}
    while True:
        yield from (Request("GET", f"{next(one).path}&dataset={dataset}") for dataset, one in asked.items())


def size_of(made: Product) -> dict[str, float | None]:
    """Measure the memory of the backend, and the logs of all services."""
    (backend,) = children_of(made.running[0].process.pid, "backend")
    logs = sum(file.stat().st_size for file in made.folder.rglob("*.log*"))
    return {"backend_mib": resident_mib(backend), "logs_mib": logs / 2**20}


def record_of(minutes: float, load: Load, attack: UploadAttack, mounted: bool) -> dict[str, Any]:
    """Put together what was found."""
    return {
        "minutes": minutes,
        "requests": len(load.seconds) + load.wrong.total(),
        "errors": load.wrong.total(),
        "errors_by_reason": dict(load.wrong),
        "p50_ms": load.milliseconds(50),
        "p99_ms": load.milliseconds(99),
        "a_disk_was_filled": mounted,
        "attacks": dict(sorted(attack.done.items())),
        "longest_seconds_to_a_jobs_end": attack.longest,
        "machine": machine(),
    }


def main() -> None:
    """Print the record as JSON; the exit code is 1 if any answer of the well-behaved client failed."""
    parser = keeping_parser("hostile", __doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long")
    asked = parser.parse_args()
    record = hostile(asked.minutes)
    tell("hostile", record, asked.keep)
    sys.exit(record["errors"] > 0)


if __name__ == "__main__":
    main()
