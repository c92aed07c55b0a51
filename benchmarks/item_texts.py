"""Train the model of `configs/movielens_1m.yaml` without item texts, with titles and genres, and with plots besides.

    python -m benchmarks.item_texts --data ../shared/data [--out runs/item-texts] [--rounds 400] [--keep]

MovieLens 1M as SASRec's file has it, whose items are named through its map; the plots are of 3,410 of its 3,416 films
(OMDb). One seed, the same users and client updates. Every run goes on where it was interrupted. Differences are paired
over users.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import FEDMEM, RESULTS, keeping_parser, machine, tell
from benchmarks.other_data import write_rows

CONFIG = RESULTS.parents[1] / "configs" / "movielens_1m.yaml"
Row = tuple[str, ...]
COLUMNS = ("item_id", "title", "genres", "text")
WAYS = {"none": 3, "titles": 3, "plots": 4}  # so many columns are there


def described(data: Path) -> Iterator[Row]:
    """Read (item, title, genres, plot) of MovieLens' films, by the ids that the map leads to."""
    plots = {row[0]: row[-2] for row in separated(data / "ml-1m-plots" / "movies_extrainfos.dat", "utf-8")}
    for item, title, genres in separated(data / "ml-1m" / "movies.dat", "latin-1"):
        plot = plots.get(item, "")
        yield item, title, genres, "" if plot == "N/A" else plot


def separated(path: Path, encoding: str) -> Iterator[list[str]]:
    """Read rows whose fields two colons separate."""
    return (line.split("::") for line in path.read_text(encoding).splitlines() if line)


def train(name: str, data: Path, out: Path, rounds: int) -> Path:
    """Train to the end with the texts of a way, and return the run."""
    items, run = out / f"items-{name}.csv", out / name
    write_rows(items, COLUMNS[: WAYS[name]], (row[: WAYS[name]] for row in described(data)))
    command = [*FEDMEM, "train", "--data", str(data / "ml-1m-sasrec" / "ml-1m.txt"), "--items", str(items)]
    settings = ["--config", str(CONFIG), "--set", f"federated.num_rounds={rounds}", "--out", str(run), "--resume"]
    texts = ["--set", f"features.text={'off' if name == 'none' else 'required'}"]
    subprocess.run([*command, *settings, *texts], check=True, stdout=sys.stderr)
    return run


def evaluated(run: Path, split: str, beside: Path) -> dict[str, Any]:
    """Evaluate a run and its difference from another."""
    command = [*FEDMEM, "evaluate", str(run), "--split", split, "--beside", str(beside), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Train what is missing, evaluate, print."""
    parser = keeping_parser("item_texts", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the three data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/item-texts"))
    parser.add_argument("--rounds", type=int, default=400)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    runs = {name: train(name, asked.data, asked.out, asked.rounds) for name in WAYS}
    rows = {
        f"{name}, {split}": evaluated(run, split, runs["none"])
        for name, run in runs.items()
        if name != "none"
        for split in ("validation", "test")
    }
    tell("item_texts", rows | {"rounds": asked.rounds, "machine": machine()}, asked.keep)


if __name__ == "__main__":
    main()
