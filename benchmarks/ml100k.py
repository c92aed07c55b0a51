"""The results table of the README: the ladder, the controls and the baselines on ML-100K.

    python benchmarks/ml100k.py --data PATH_TO_ML_100K --out runs/ml100k --workers 2

Every run is a ``fedmem train --resume``, so that an interrupted table goes on where it stopped; a finished table is
printed as Markdown and written, with the commit, to benchmarks/results/ml100k.json. About 100 minutes on two cores.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FEDMEM = [sys.executable, "-m", "fedmem"]


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


SEEDS = (42, 43, 44)
LADDER = [
    *(Run(config, seed) for seed in SEEDS for config in ("fedmem", "centralised", "fedavg")),
    Run("fedmem_no_proto"),
    Run("fedmem_no_contrast"),
    Run("fedavg_original"),
]
# The controls keep a tenth of the users out of training, so that they are measured on new users too.
CONTROLS = [Run(c, cold=True) for c in ("fedmem", "no_memory", "random_memory", "last_memory", "no_text")]


def train(run: Run, data: Path, out: Path) -> None:
    """Train one run to its end, its log beside it."""
    command = [*FEDMEM, "train", "--data", str(data), "--config", str(ROOT / "configs" / f"{run.config}.yaml")]
    command += ["--out", str(out / run.name), "--resume", *run.settings]
    with (out / f"{run.name}.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def evaluate(run: Run, out: Path) -> dict[str, Any]:
    """The tables of a finished run on both splits."""
    found: dict[str, Any] = {"config": run.config, "seed": run.seed, "cold": run.cold}
    for split in ("validation", "test"):
        command = [*FEDMEM, "evaluate", str(out / run.name), "--json", "--split", split]
        command += ["--controls"] if run.config == "fedmem" and split == "test" else []
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[split] = json.loads(done.stdout)
    record = json.loads((out / run.name / "run.json").read_text())
    last = json.loads((out / run.name / "metrics.jsonl").read_text().splitlines()[-1])["metrics"]
    size = {key: value for key, value in last.items() if key.startswith("bytes_")}
    return found | {"rounds": record["last"], "best_round": record["best"], "seconds": record["seconds"], "bytes": size}


def cell(records: list[dict[str, Any]], metric: str) -> str:
    """Mean ± standard error over users or, of several seeds, the mean and the range over seeds."""
    values = [record["metrics"][metric] for record in records]
    if len(values) == 1:
        return f"{values[0]['mean']:.4f} ± {values[0]['standard_error']:.4f}"
    means = [value["mean"] for value in values]
    return f"{statistics.mean(means):.4f} ({min(means):.4f}–{max(means):.4f})"


def model_row(result: dict[str, Any], split: str) -> dict[str, Any]:
    """The trained model's record of one run."""
    return next(row for row in result[split]["warm"] if row["name"] == "trained model")


def ladder_markdown(results: list[dict[str, Any]]) -> str:
    """Baselines and rungs, validation and test."""
    names = [f"{split} {metric}" for split in ("validation", "test") for metric in ("HR@10", "NDCG@10")]
    lines = [f"| model | {' | '.join(names)} | rounds | KB per client and round | minutes |", "|---" * 8 + "|"]
    warm = {split: results[0][split]["warm"] for split in ("validation", "test")}
    for index, baseline in enumerate(warm["test"][:4]):
        cells = [cell([warm[split][index]], m) for split in warm for m in ("HR@10", "NDCG@10")]
        lines.append(f"| {baseline['name']} | {' | '.join(cells)} | | | |")
    for config in dict.fromkeys(run.config for run in LADDER):
        runs = [r for r in results if r["config"] == config and not r["cold"]]
        cells = [cell([model_row(r, s) for r in runs], m) for s in warm for m in ("HR@10", "NDCG@10")]
        rounds = "/".join(str(r["best_round"]) for r in runs)
        sent = "" if config == "centralised" else f"{sum(runs[0]['bytes'].values()) / 1000:.0f}"
        minutes = statistics.mean(r["seconds"] for r in runs) / 60
        lines.append(f"| {config} | {' | '.join(cells)} | {rounds} | {sent} | {minutes:.0f} |")
    return "\n".join(lines)


def controls_markdown(results: list[dict[str, Any]]) -> str:
    """NDCG@10 of warm users and of users who never trained, by run and by what the trained model reads."""
    head = "| | warm | paired difference to the trained model | cold, 0 | 1 | 2 | 3 | 5 |"
    lines = [head, "|---" * 8 + "|"]
    for result in (r for r in results if r["cold"]):
        full = result["config"] == "fedmem"
        for row in result["test"]["warm"]:
            is_model = row["name"] == "trained model"
            if not (is_model or (full and row["name"] != "chance")):
                continue
            name = result["config"] if is_model else row["name"] if row["name"] in BASELINES else f"— {row['name']}"
            cold = [c for c in result["test"]["cold"] if c["name"].split(", n =")[0] == row["name"]]
            difference = result["test"]["differences"].get(row["name"], {}).get("NDCG@10")
            paired = f"{difference[0]:+.4f} ± {difference[1]:.4f}" if difference else ""
            cells = [cell([row], "NDCG@10"), paired, *(f"{c['metrics']['NDCG@10']['mean']:.3f}" for c in cold)]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


BASELINES = ("popularity", "item-item counts", "EASE + recency")


def main() -> None:
    """Train what is missing, evaluate, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/ml100k"))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    runs = [*LADDER, *CONTROLS]
    with ThreadPoolExecutor(arguments.workers) as pool:
        list(pool.map(lambda run: train(run, arguments.data, arguments.out), runs))
        results = list(pool.map(lambda run: evaluate(run, arguments.out), runs))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    written = {"date": str(datetime.date.today()), "commit": commit, "results": results}
    sys.stdout.write(f"{ladder_markdown(results)}\n\n{controls_markdown(results)}\n")
    kept = ROOT / "benchmarks" / "results"
    kept.mkdir(exist_ok=True)
    (kept / "ml100k.json").write_text(json.dumps(written) + "\n")


if __name__ == "__main__":
    main()
