"""Train `configs/movielens_1m.yaml`, untouched, on data that it was not chosen on.

    python -m benchmarks.other_data --data ../shared/data [--out runs/other] [--keep]

MovieLens latest-small (its ratings.csv and movies.csv) and Amazon's Industrial_and_Scientific (sequences with titles,
as MiniOneRec publishes them; no times, so that places in the sequence stand for them). Every run goes on where it was
interrupted. Test figures beside item-item counts and beside the same model without its transition memory.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import FEDMEM, RESULTS, keeping_parser, machine, tell

CONFIG = RESULTS.parents[1] / "configs" / "movielens_1m.yaml"
AMAZON = "Industrial_and_Scientific"


def latest_small(data: Path, _: Path) -> tuple[Path, Path]:
    """Return the files of interactions and of items, as they are."""
    return data / "ml-latest-small" / "ratings.csv", data / "ml-latest-small" / "movies.csv"


def industrial(data: Path, out: Path) -> tuple[Path, Path]:
    """Write one row per interaction and per item, and return both files."""
    source = data / "amazon18-titles"
    interactions, items = out / f"{AMAZON}.csv", out / f"{AMAZON}-items.csv"
    write_rows(interactions, ("user_id", "item_id", "timestamp"), sequences(source / f"{AMAZON}.sequences.DERIVED.tsv"))
    described = json.loads((source / f"{AMAZON}.item.json").read_text(encoding="utf-8"))
    write_rows(items, ("item_id", "title"), ((item, about["title"]) for item, about in described.items()))
    return interactions, items


def sequences(source: Path) -> Iterator[tuple[str, str, int]]:
    """Read (user, item, place) from lines of a user and their items."""
    with source.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t")
        next(rows)
        for user, items in rows:
            yield from ((user, item, place) for place, item in enumerate(items.split()))


def write_rows(path: Path, head: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


DATA = {"ml-latest-small": latest_small, "amazon-industrial": industrial}


def measure(name: str, data: Path, out: Path) -> dict[str, Any]:
    """Train to the end and return the test table with its controls."""
    interactions, items = DATA[name](data, out)
    run = out / name
    command = [*FEDMEM, "train", "--data", str(interactions), "--items", str(items), "--config", str(CONFIG)]
    subprocess.run([*command, "--out", str(run), "--resume"], check=True, stdout=sys.stderr)
    table = [*FEDMEM, "evaluate", str(run), "--controls", "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(table, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    """Train what is missing, evaluate, print."""
    parser = keeping_parser("other_data", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds both data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/other"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    record = {name: measure(name, asked.data, asked.out) for name in DATA} | {"machine": machine()}
    tell("other_data", record, asked.keep)


if __name__ == "__main__":
    main()
