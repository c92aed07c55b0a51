"""``fedmem bench serve`` of this source and of another checkout, in turns: no row is to be worse by more than 5 %.

    python -m benchmarks.serve_in_turns OTHER_CHECKOUT [--turns N] [--keep]

Each checkout is measured by its own command, in its own ``.venv``, now this one first, now the other. A row is a ratio
against a peer that was measured beside it in the same run, so that what else the machine does weighs on both; what is
compared is the median over the turns of this side and of the other. r6 and r9 are times until an answer: they say
nothing on a machine that has other work. The others are CPU times.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.before_after import ROOT, commit
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.serve import WHAT

GOAL = 1.05
SIDES = ("after", "before")
Record = dict[str, Any]


def measure(folder: Path) -> Record:
    """Run one checkout's benchmark, and return its record."""
    command = [str(folder / ".venv" / "bin" / "python"), "-m", "cli", "bench", "serve", "--json"]
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found: Record = json.loads(done.stdout)
    return found


def in_turns(after: Path, before: Path, turns: int) -> dict[str, list[Record]]:
    """Measure both sides so many times, by turns."""
    places, found = dict(zip(SIDES, (after, before), strict=True)), dict[str, list[Record]](after=[], before=[])
    for turn in range(turns):
        for side in SIDES if turn % 2 else reversed(SIDES):
            found[side].append(measure(places[side]))
            sys.stderr.write(f"turn {turn + 1} of {turns}: {side} is measured\n")
    return found


def compared(after: Sequence[Record], before: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Compare the medians of each row; of requests that failed, which are to be none, the greatest counts."""
    rows = {}
    for name in WHAT:
        values = {side: [run[name] for run in runs] for side, runs in zip(SIDES, (after, before), strict=True)}
        if name.endswith("_errors"):
            rows[name] = {side: max(found) for side, found in values.items()}
            continue
        medians = {side: statistics.median(found) for side, found in values.items()}
        ratio = medians["after"] / medians["before"]
        rows[name] = {side: round(value, 4) for side, value in medians.items()} | {"ratio": round(ratio, 3)}
    return rows


def main() -> None:
    """Measure, print a line for each row, and the record as JSON."""
    parser = keeping_parser("serve_in_turns", __doc__)
    parser.add_argument("other", type=Path, help="the other checkout, with a .venv of its own")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    other = asked.other.resolve()
    found = in_turns(ROOT, other, asked.turns)
    rows = compared(found["after"], found["before"])
    for name, row in rows.items():
        sys.stderr.write(f"{name:>10}  {row}  {WHAT[name]}\n")
    record = {"rows": rows, "goal": GOAL, "turns": asked.turns, "before": commit(other), "runs": found}
    tell("serve_in_turns", record | {"machine": machine()}, asked.keep)


if __name__ == "__main__":
    main()
