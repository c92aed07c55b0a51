"""A JSON-lines file of a million interactions: time by rows and peak memory, beside csv and pandas.

    python -m benchmarks.reading [--keep]

The same rows are written as JSON lines and as csv: a user, an item, a time, and a review that is passed over. By turns,
each in a fresh process, FedMem's readers read both, and the peer, `pandas.read_json(lines=True)`, reads the first. CPU
seconds are of reading alone. Memory is what a process has at its peak beyond what it had before it read (Linux only);
the interactions themselves are a part of it that grows with the rows, whatever the reader.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import machine, write_result
from benchmarks.memory import status
from fedmem.data.formats import read_interactions

FEW, MANY = 100_000, 1_000_000
USERS, ITEMS, TURNS = 50_000, 20_000, 3
REVIEW = "a review of some words, which no recommender reads"
# Above 1 by the caches: the ids that have been seen no longer fit into the fast ones.
GOAL = 1.5

Turn = dict[str, float]


def _read_by_pandas(path: Path) -> object:
    return pd.read_json(path, lines=True, dtype={"user_id": str, "item_id": str}, convert_dates=False)


SIDES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "jsonl": ("jsonl", read_interactions),
    "csv": ("csv", read_interactions),
    "pandas.read_json": ("jsonl", _read_by_pandas),
}


def write_table(rows: int, folder: Path) -> None:
    """Write the same rows as JSON lines and as csv."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, USERS, rows), rng.integers(0, ITEMS, rows)
    times = 1_700_000_000 + np.sort(rng.integers(0, 10_000_000, rows))
    columns = zip(users.tolist(), items.tolist(), times.tolist(), strict=True)
    with (
        (folder / f"{rows}.jsonl").open("w", encoding="utf-8") as lines,
        (folder / f"{rows}.csv").open("w", encoding="utf-8") as table,
    ):
        table.write("user_id,item_id,timestamp,review\n")
        for user, item, moment in columns:
            row = {"user_id": f"user-{user}", "item_id": f"item-{item}", "timestamp": moment, "review": REVIEW}
            lines.write(json.dumps(row) + "\n")
            table.write(f'user-{user},item-{item},{moment},"{REVIEW}"\n')


def measure(side: str, rows: int, folder: Path) -> Turn:
    """Measure CPU seconds and bytes of one reading, in this process."""
    form, read = SIDES[side]
    small = folder / f"small.{form}"
    with (folder / f"{rows}.{form}").open(encoding="utf-8") as whole:
        small.write_text("".join(next(whole) for _ in range(50)), encoding="utf-8")
    read(small)  # libraries take their memory first
    before = status("VmRSS")
    began = time.process_time()
    found = read(folder / f"{rows}.{form}")
    seconds = time.process_time() - began
    assert len(found) == rows  # type: ignore[arg-type]
    return {"seconds": seconds, "bytes": status("VmHWM") - before}


def summary(turns: dict[str, list[Turn]]) -> dict[str, Any]:
    """Compute medians by side and rows, CPU time of a row at the larger size to the smaller, and ratios to the peer."""
    medians = {
        name: {key: statistics.median(turn[key] for turn in taken) for key in ("seconds", "bytes")}
        for name, taken in turns.items()
    }

    def ratio(key: str, side: str, rows: int, other: str, other_rows: int) -> float:
        return medians[f"{side} {rows}"][key] / medians[f"{other} {other_rows}"][key]

    return {
        "medians": medians,
        "per_row": {side: ratio("seconds", side, MANY, side, FEW) * FEW / MANY for side in SIDES},
        "seconds_to_pandas": ratio("seconds", "jsonl", MANY, "pandas.read_json", MANY),
        "bytes_to_pandas": ratio("bytes", "jsonl", MANY, "pandas.read_json", MANY),
        "seconds_to_csv": ratio("seconds", "jsonl", MANY, "csv", MANY),
    }


def main() -> None:
    """Measure all sides in turn, and the ratios; keep them in benchmarks/results/reading.json if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the record in benchmarks/results")
    parser.add_argument("--one", nargs=3, metavar=("SIDE", "ROWS", "DIR"), help="one reading, printed as JSON")
    arguments = parser.parse_args()
    if arguments.one:
        side, rows, folder = arguments.one
        sys.stdout.write(json.dumps(measure(side, int(rows), Path(folder))) + "\n")
        return
    found = summary(_turns())
    for name, medians in found["medians"].items():
        sys.stdout.write(f"{name:>26} rows: {medians['seconds']:6.2f} s, {medians['bytes'] / 2**20:5.0f} MiB\n")
    for side, growth in found["per_row"].items():
        sys.stdout.write(f"{side}: a row of {MANY:,} takes {growth:.2f} times one of {FEW:,} (goal: at most {GOAL})\n")
    sys.stdout.write(
        f"JSON lines to pandas.read_json: {found['seconds_to_pandas']:.2f} of its time, {found['bytes_to_pandas']:.2f} "
        f"of its memory; to csv: {found['seconds_to_csv']:.2f} of the time\n"
    )
    if arguments.keep:
        path = write_result("reading", {**found, "goal": GOAL, "turns": TURNS, "machine": machine()})
        sys.stdout.write(f"kept in {path}\n")


def _turns() -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {f"{side} {rows}": [] for side in SIDES for rows in (FEW, MANY)}
    with tempfile.TemporaryDirectory() as folder:
        for rows in (FEW, MANY):
            write_table(rows, Path(folder))
        for _ in range(TURNS):
            for side in SIDES:
                for rows in (FEW, MANY):
                    turns[f"{side} {rows}"].append(_in_a_fresh_process(side, rows, folder))
    return turns


def _in_a_fresh_process(side: str, rows: int, folder: str) -> Turn:
    command = [sys.executable, "-m", "benchmarks.reading", "--one", side, str(rows), folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    found: Turn = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
