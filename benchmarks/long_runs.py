"""P7: how long the ladder takes on ML-100K, and 500 rounds of FedMem-Full on ML-1M.

    python -m benchmarks.long_runs --ml100k data/ml-100k --ml1m data/sasrec-ml-1m --items data/ml-1m/movies.dat

Both commands continue where they stopped. Minutes are those of wall time in which they trained, added up over the runs'
own records. The figure of ML-1M counts only if no early stop has spared rounds; its `rounds` stand beside it.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import FEDMEM, machine, write_result
from fedmem.ablation import run_result

LADDER_GOAL, ML1M_GOAL = 15, 120  # minutes
ROUNDS = 500
RUNGS = "centralised,transitions,fedmem_no_proto,fedmem_no_contrast,fedmem_full"


def ladder(data: Path, out: Path) -> dict[str, Any]:
    """Run ``fedmem ablate``: five rungs, one seed, two workers."""
    command = [*FEDMEM, "ablate", "--data", str(data), "--out", str(out), "--workers", "2", "--json", "--rungs", RUNGS]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def movielens_1m(data: Path, items: Path | None, out: Path, workers: int) -> dict[str, Any]:
    """Run ``fedmem train`` for 500 rounds with contexts of 200 items."""
    command = [*FEDMEM, "train", "--data", str(data), "--out", str(out), "--resume", "--workers", str(workers)]
    command += ["--items", str(items)] if items else []
    settings = (
        "ablation.disable_moe=false",
        "model.max_seq_len=200",
        f"federated.num_rounds={ROUNDS}",
        "features.image=off",
    )
    command += [part for setting in settings for part in ("--set", setting)]
    subprocess.run(command, check=True)
    return run_result(out)


def figures(ladder_record: dict[str, Any], ml_1m: dict[str, Any]) -> dict[str, Any]:
    """Return minutes, whether they meet the goals, and the records that they come from."""
    trained = [run for model in ladder_record["models"] for run in model["runs"] if "seconds" in run]
    minutes = {"ladder": sum(run["seconds"] for run in trained) / 60, "ml_1m": ml_1m["seconds"] / 60}
    met = {
        "ladder": minutes["ladder"] <= LADDER_GOAL,
        "ml_1m": minutes["ml_1m"] <= ML1M_GOAL and ml_1m["rounds"] == ROUNDS,
    }
    goals = {"ladder": LADDER_GOAL, "ml_1m": ML1M_GOAL}
    return {"minutes": minutes, "goals_in_minutes": goals, "met": met, "ladder": ladder_record, "ml_1m": ml_1m}


def main() -> None:
    """Run both, and write benchmarks/results/long_runs.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml100k", type=Path, required=True)
    parser.add_argument("--ml1m", type=Path, required=True)
    parser.add_argument("--items", type=Path, help="titles of ML-1M's films")
    parser.add_argument("--out", type=Path, default=Path("runs/long"))
    parser.add_argument("--workers", type=int, default=2, help="of the ML-1M run")
    arguments = parser.parse_args()
    rungs = ladder(arguments.ml100k, arguments.out / "ladder")
    long = movielens_1m(arguments.ml1m, arguments.items, arguments.out / "ml-1m", arguments.workers)
    path = write_result("long_runs", figures(rungs, long) | {"machine": machine()})
    sys.stdout.write(f"kept in {path}\n")


if __name__ == "__main__":
    main()
