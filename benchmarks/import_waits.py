"""How long feedback and readers wait beside an import of 300,000 rows on SQLite.

    python -m benchmarks.import_waits [--rows 300000]

A process imports the rows into a data set, new and then with as many again, while this one stores feedback and reads a
history twenty times a second. Kept are the waits for the write lock, as ``lock_waits`` counts them, and the times of
the reads. Seconds depend on the machine and on what else it does.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import migrations
from benchmarks.lock_waits import count_waits, noted
from benchmarks.measure import machine, write_result
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event, InteractionColumns, ItemRow
from fedmem.storage.engine import connect

ITEMS = 5_000
EVERY = 0.05  # seconds
GOAL = 1.0

Waits = dict[str, float]


def generated(rows: int, first: int) -> InteractionColumns:
    """Draw rows of as many users as ML-1M has for as many."""
    drawn = np.random.default_rng(first)
    users = drawn.integers(0, max(1, rows // 160), rows)
    items = drawn.integers(0, ITEMS, rows)
    times = 1e9 + first + np.arange(rows, dtype=np.float64)
    return InteractionColumns([f"user {user}" for user in users], [f"item {item}" for item in items], times)


def import_rows(url: str, name: str, rows: int, first: int) -> None:
    """Import, as ``fedmem data import`` does once it has read the file."""
    items = [ItemRow(f"item {number}", f"Film {number}", ("Drama",), 1990, None, "A film.") for number in range(ITEMS)]
    CatalogueStore(connect(url)).write(name, "benchmark", generated(rows, first), items)


def beside(url: str, waits: Path, name: str, rows: int, first: int) -> Waits:
    """Import in another process, and measure what others wait meanwhile."""
    store, before, reads, number = CatalogueStore(connect(url)), len(noted(waits)), [0.0], 0
    command = [sys.executable, "-m", "benchmarks.import_waits", "--import", url, name, str(rows), str(first)]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
    while process.poll() is None:
        number += 1
        store.add_feedback("served", [Event("user 1", "item 1", 1e9 + first + number)])
        asked = time.monotonic()
        store.history("served", "user 1")
        reads.append(time.monotonic() - asked)
        time.sleep(EVERY)
    if process.returncode:
        raise SystemExit(process.returncode)
    waited = [seconds for _, seconds in noted(waits)[before:]]
    return {
        "import": round(time.monotonic() - began, 2),
        "feedback": number,
        "longest_wait": round(max(waited), 3),
        "longest_read": round(max(reads), 3),
    }


def main() -> None:
    """Measure, print, and write benchmarks/results/import_waits.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--import", nargs=4, dest="imported", metavar=("URL", "NAME", "ROWS", "FIRST"))
    arguments = parser.parse_args()
    if arguments.imported:
        url, name, rows, first = arguments.imported
        import_rows(url, name, int(rows), int(first))
        return
    with tempfile.TemporaryDirectory() as folder:
        url, waits = f"sqlite:///{folder}/fedmem.db", Path(folder) / "waits"
        migrations.upgrade(url)
        import_rows(url, "served", 10_000, 0)
        waits.touch()
        count_waits(waits, every=True)
        found = {
            "into a new data set": beside(url, waits, "new", arguments.rows, 10_000_000),
            "into the one that is served": beside(url, waits, "served", arguments.rows, 20_000_000),
        }
    path = write_result("import_waits", {"rows": arguments.rows, "goal": GOAL, **found, "machine": machine()})
    for what, one in found.items():
        sys.stdout.write(f"{what}: {one}\n")
    sys.stdout.write(f"goal: no wait above {GOAL} s; kept in {path}\n")


if __name__ == "__main__":
    main()
