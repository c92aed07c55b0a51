"""P2: client updates per CPU-second, FedMem's simulation against Flower's, in one interleaved run.

    python -m benchmarks.flower.compare --flower-python .venv-flower/bin/python

Both sides train the same users from the same parameters with the same draws; that their first round ends in the same
parameters is checked. CPU time is that of all processes of a side between the end of its first round and the end of
its last. Prints the ratios and writes benchmarks/results/flower.json.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.flower.run_fedmem import server_of
from benchmarks.workload import generated_dataset
from fedmem.federated.server import FedMemServer

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "sasrec."
# Float32 rounding, grown by four Adam steps; another draw or another step gives a difference of order 1.
TOLERANCE = 0.01
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare(folder: Path, users: int, items: int) -> None:
    """Write what Flower's side reads, so that its environment needs no more of FedMem than model and segments."""
    dataset = generated_dataset(users, items)
    server = server_of(dataset)
    parameters = server.state.parameters
    assert all(name.startswith(PREFIX) for name in parameters), "W is SASRec alone"
    initial = {name.removeprefix(PREFIX): value for name, value in parameters.items()}
    np.savez(folder / "initial.npz", **initial)  # type: ignore[arg-type]
    histories = [dataset.training_history(user) for user in range(users)]
    offsets = np.cumsum([0, *map(len, histories)])
    np.savez(folder / "histories.npz", sequence=np.concatenate(histories), offsets=offsets)
    (folder / "settings.json").write_text(json.dumps(settings_of(server, items)))


def settings_of(server: FedMemServer, items: int) -> dict[str, Any]:
    """Return the model's sizes and the local training's settings for Flower's side."""
    model, training = server.config.model, server.config.training
    return {
        "model": {
            "num_items": items,
            "hidden_dim": model.sasrec_hidden_dim,
            "num_blocks": model.sasrec_num_blocks,
            "num_heads": model.sasrec_num_heads,
            "dropout": model.sasrec_dropout,
            "max_seq_len": model.max_seq_len,
        },
        "seed": server.config.seed,
        "local_epochs": server.config.federated.local_epochs,
        "learning_rate": training.learning_rate,
        "num_negatives": training.num_negatives,
    }


def run_side(name: str, python: Path, folder: Path, options: dict[str, int]) -> dict[str, Any]:
    """Run one side to its end and return its figures; its log stays in the folder."""
    command = [str(python), "-m", f"benchmarks.flower.run_{name}", str(folder)]
    command += [part for key, value in options.items() for part in (f"--{key}", str(value))]
    log = folder / f"{name}.log"
    with log.open("w") as out:
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stdout=out, stderr=out)
    if done.returncode:
        sys.exit(f"{name}'s side failed; the end of its log:\n{log.read_text()[-3000:]}")
    figures: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return figures | {"updates_per_cpu_second": figures["updates"] / figures["cpu_seconds"]}


def difference(folder: Path) -> float:
    """Compute the distance of the two sides' parameters after the first round, relative to how far the round went."""
    start, flower, fedmem = (np.load(folder / f"{name}.npz") for name in ("initial", "flower", "fedmem"))
    apart = sum(float(np.square(flower[n] - fedmem[PREFIX + n]).sum()) for n in start)
    moved = sum(float(np.square(fedmem[PREFIX + n] - start[n]).sum()) for n in start)
    return float(np.sqrt(apart / moved))


def compare(arguments: argparse.Namespace, items: int) -> dict[str, Any]:
    """Measure all pairs at one catalogue size."""
    users, rounds, pairs = arguments.users, arguments.rounds, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, users, items)
        for _ in range(arguments.pairs):
            flower_options = {"rounds": rounds, "actors": arguments.actors}
            flower = run_side("flower", arguments.flower_python, folder, flower_options)
            fedmem = run_side(
                "fedmem", Path(sys.executable), folder, {"rounds": rounds, "users": users, "items": items}
            )
            if not (apart := difference(folder)) < TOLERANCE:
                sys.exit(f"the two sides do not train the same: relative difference {apart:.2g} after one round")
            ratio = fedmem["updates_per_cpu_second"] / flower["updates_per_cpu_second"]
            pairs.append({"flower": flower, "fedmem": fedmem, "ratio": ratio, "relative_difference": apart})
            report(items, pairs[-1])
    ratios = [pair["ratio"] for pair in pairs]
    summary = {"median": statistics.median(ratios), "range": [min(ratios), max(ratios)]}
    return {
        "items": items,
        "users": users,
        "rounds": rounds,
        "actors": arguments.actors,
        "ratio": summary,
        "pairs": pairs,
    }


def report(items: int, pair: dict[str, Any]) -> None:
    """Print one pair on one line."""
    rates = " ".join(f"{side} {pair[side]['updates_per_cpu_second']:.1f}" for side in ("flower", "fedmem"))
    sys.stdout.write(f"{items} items: updates per CPU-second: {rates}, ratio {pair['ratio']:.1f}\n")
    sys.stdout.flush()


def commit() -> str:
    """Return the commit of the working tree, marked if it has uncommitted changes."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """Run both catalogue sizes and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower-python", type=Path, required=True, help="Python of Flower's own environment")
    parser.add_argument("--items", type=int, nargs="+", default=[3_000, 100_000])
    parser.add_argument("--users", type=int, default=64, help="clients of a round: all of them, on both sides")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds, after one that is not")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--actors", type=int, default=2, help="Ray actors of Flower's side, of one CPU each")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "flower.json")
    arguments = parser.parse_args()
    settings = [compare(arguments, items) for items in arguments.items]
    for setting in settings:
        low, high = setting["ratio"]["range"]
        sys.stdout.write(f"{setting['items']} items: ratio {setting['ratio']['median']:.1f} ({low:.1f}–{high:.1f})\n")
    written = {"date": str(datetime.date.today()), "commit": commit(), "settings": settings}
    arguments.out.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
