"""What trained models of ML-100K lose when parts of their memory are changed, for new users too, beside the controls.

    fedmem ablate --data PATH_TO_ML_100K --out runs/ml100k --seeds 42,43,44
    python -m benchmarks.ml100k --data PATH_TO_ML_100K --out runs/ml100k --processes 2

The trained Full models of the ladder are shared by their place. Every run is a ``fedmem train --resume``, so that an
interrupted benchmark goes on where it stopped; finished tables are printed as Markdown and written, with the commit,
to benchmarks/results/ml100k.json. About an hour on two cores.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import FEDMEM
from fedmem.ablation import ablation_record, run_result
from fedmem.checkpoint import RunDirectory
from fedmem.evaluation.ablation_table import as_markdown

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Run:
    """One training run: a configuration, a seed, and what is set besides."""

    config: str
    seed: int = 42
    cold: bool = False

    @property
    def name(self) -> str:
        return f"{self.config}{'-cold' if self.cold else ''}-{self.seed}"

    @property
    def settings(self) -> list[str]:
        settings = [f"seed={self.seed}", *(["data.cold_user_fraction=0.1"] if self.cold else [])]
        return [part for setting in settings for part in ("--set", setting)]


FULL = "fedmem_full"
LADDERS = [Run(FULL, seed) for seed in (42, 43, 44)]
ORIGINAL = Run("fedavg_original")
# The controls keep a tenth of the users out of training, so that they are measured on new users too.
CONTROLS = [Run(c, cold=True) for c in (FULL, "no_memory", "random_memory", "last_memory", "no_text")]


def train(run: Run, data: Path, out: Path) -> None:
    """Train one run to its end, its log beside it."""
    command = [*FEDMEM, "train", "--data", str(data), "--config", str(ROOT / "configs" / f"{run.config}.yaml")]
    command += ["--out", str(out / run.name), "--resume", *run.settings]
    with (out / f"{run.name}.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def evaluate(run: Run, out: Path) -> dict[str, Any]:
    """Compute the test tables of a finished run; for Full also with parts of its memory changed."""
    command = [*FEDMEM, "evaluate", str(out / run.name), "--json", *(["--controls"] if run.config == FULL else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"config": run.config, "seed": run.seed, "test": json.loads(done.stdout)}


def paired(result: dict[str, Any], name: str) -> str:
    """Format a row's paired difference to the trained model in NDCG@10."""
    difference = result["test"]["differences"].get(name, {}).get("NDCG@10")
    return f"{difference[0]:+.4f} ± {difference[1]:.4f}" if difference else ""


def full_markdown(results: list[dict[str, Any]]) -> str:
    """Render what the trained Full models lose when parts of their memory are changed, by seed."""
    lines = [f"| the trained model with .. | {' | '.join(str(r['seed']) for r in results)} |"]
    lines.append("|---" * (1 + len(results)) + "|")
    names = [name for name in results[0]["test"]["differences"] if name not in BASELINES]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(paired(r, name) for r in results)} |" for name in names)])


def controls_markdown(results: list[dict[str, Any]]) -> str:
    """Render NDCG@10 of warm users and of users who never trained, by run and by what the trained model reads."""
    head = "| | warm | paired difference to the trained model | cold, 0 | 1 | 2 | 3 | 5 |"
    lines = [head, "|---" * 8 + "|"]
    for result in results:
        full = result["config"] == FULL
        for row in result["test"]["warm"]:
            is_model = row["name"] == "trained model"
            if not (is_model or (full and row["name"] != "chance")):
                continue
            name = result["config"] if is_model else row["name"] if row["name"] in BASELINES else f"— {row['name']}"
            value = row["metrics"]["NDCG@10"]
            cold = [c for c in result["test"]["cold"] if c["name"].split(", n =")[0] == row["name"]]
            cells = [f"{value['mean']:.4f} ± {value['standard_error']:.4f}", paired(result, row["name"])]
            cells += [f"{c['metrics']['NDCG@10']['mean']:.3f}" for c in cold]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


BASELINES = ("popularity", "item-item counts", "EASE + recency")


def main() -> None:
    """Train what is missing, evaluate, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/ml100k"))
    parser.add_argument("--processes", type=int, default=2, help="how many runs go at once")
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(arguments.processes) as pool:
        list(pool.map(lambda run: train(run, arguments.data, out), [*LADDERS, ORIGINAL, *CONTROLS]))
        full = list(pool.map(lambda run: evaluate(run, out), LADDERS))
        controls = list(pool.map(lambda run: evaluate(run, out), CONTROLS))
    dataset = RunDirectory(out / ORIGINAL.name).read_snapshot().dataset
    original = {"name": "federated averaging as the original has it", "runs": [run_result(out / ORIGINAL.name)]}
    record = ablation_record(dataset, [original])
    tables = (as_markdown(record), full_markdown(full), controls_markdown(controls))
    sys.stdout.write("\n\n".join(tables) + "\n")
    kept = ROOT / "benchmarks" / "results"
    kept.mkdir(exist_ok=True)
    (kept / "ml100k.json").write_text(json.dumps(record | {"full": full, "controls": controls}) + "\n")


if __name__ == "__main__":
    main()
