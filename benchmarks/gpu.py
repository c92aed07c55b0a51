"""ML-1M on a GPU: the same short run on the CPU and there, and the minutes of 500 rounds.

    benchmarks/gpu.sh --data data/ml-1m-sasrec --items data/ml-1m/movies.dat [--out runs/gpu] [--keep]

The runs are `configs/movielens_1m.yaml` and go on where they were interrupted; after each, OUT/gpu.json has all that is
known. A machine with a GPU may have no text encoder: `--prepare` starts the runs without training them, on any machine,
and their folder can be taken there. Nothing is chosen by these figures.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import FEDMEM, RESULTS, machine, write_result
from fedmem.ablation import run_result
from fedmem.checkpoint import RunDirectory
from fedmem.config import ExperimentConfig
from fedmem.config_reader import load_config
from fedmem.data.formats import load_dataset
from fedmem.experiment import TrainingRun
from fedmem.snapshot import take_snapshot

CONFIG = RESULTS.parents[1] / "configs" / "movielens_1m.yaml"
SHORT, LONG = 100, 500  # rounds
GOAL = 3  # minutes of the long run
RUNS = {"cpu": ("cpu", SHORT), "gpu": ("cuda", SHORT), "long": ("cuda", LONG)}


def settings_of(name: str) -> list[str]:
    """Say what a run sets beside its file."""
    device, rounds = RUNS[name]
    return [f"device={device}", f"federated.num_rounds={rounds}"]


def prepare(data: Path, items: Path | None, out: Path) -> None:
    """Start the runs, each with its snapshot, where there are none; train nothing."""
    missing = [name for name in RUNS if not RunDirectory(out / name).exists]
    if not missing:
        return
    snapshot = take_snapshot(on_this_machine(load_config(CONFIG, [])), load_dataset(data, items=items))
    for name in missing:
        TrainingRun.start(out / name, snapshot).close()


def on_this_machine(config: ExperimentConfig) -> ExperimentConfig:
    """Start on the CPU, which every machine has; a run may go on elsewhere."""
    return config.model_copy(update={"device": "cpu"})


def begun(name: str, data: Path, items: Path | None, out: Path) -> "subprocess.Popen[bytes]":
    """Let ``fedmem train`` go on with a run."""
    command = [*FEDMEM, "train", "--data", str(data), "--config", str(CONFIG), "--out", str(out / name), "--resume"]
    command += ["--items", str(items)] if items else []
    command += [part for setting in settings_of(name) for part in ("--set", setting)]
    return subprocess.Popen(command, stdout=sys.stderr)


def ended(process: "subprocess.Popen[bytes]", name: str, out: Path) -> dict[str, Any]:
    """Wait for a run and return its result."""
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return run_result(out / name)


def measured(data: Path, items: Path | None, out: Path) -> dict[str, Any]:
    """Train all, the CPU beside the GPU because they share nothing; what is known is written after each."""
    runs: dict[str, Any] = {}
    beside = begun("cpu", data, items, out)
    try:
        for name in ("gpu", "long"):
            runs[name] = ended(begun(name, data, items, out), name, out)
            written(out, runs)
        runs["cpu"] = ended(beside, "cpu", out)
        return written(out, runs)
    finally:
        beside.terminate()


def written(out: Path, runs: Mapping[str, Any]) -> dict[str, Any]:
    """Write what is known into OUT/gpu.json, and return it."""
    found = figures(runs) | {"machine": machine() | {"gpu": torch.cuda.get_device_name()}}
    (out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def figures(runs: Mapping[str, Any]) -> dict[str, Any]:
    """Return minutes, the GPU's metrics less the CPU's in standard errors over users, and the results."""
    found: dict[str, Any] = {"minutes": {name: run["seconds"] / 60 for name, run in runs.items()}, "runs": dict(runs)}
    if "long" in runs:
        met = runs["long"]["rounds"] == LONG and runs["long"]["seconds"] <= GOAL * 60
        found |= {"goal_in_minutes": GOAL, "met": met}
    if {"cpu", "gpu"} <= runs.keys():
        found["gpu_less_cpu_in_standard_errors"] = differences(runs["cpu"], runs["gpu"])
    return found


def differences(cpu: Mapping[str, Any], gpu: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return (GPU − CPU) / standard error of each metric, by split."""
    return {
        split: {
            name: (gpu[split][name]["mean"] - one["mean"]) / one["standard_error"] for name, one in cpu[split].items()
        }
        for split in ("validation", "test")
    }


def main() -> None:
    """Prepare, and train unless that was all that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ML-1M")
    parser.add_argument("--items", type=Path, help="titles of ML-1M's films")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--prepare", action="store_true", help="start the runs and train nothing; needs no GPU")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/gpu.json too")
    asked = parser.parse_args()
    if not asked.prepare and not torch.cuda.is_available():
        sys.exit("this machine has no GPU that PyTorch can use; nothing else needs one")
    prepare(asked.data, asked.items, asked.out)
    if asked.prepare:
        return
    record = measured(asked.data, asked.items, asked.out)
    if asked.keep:
        write_result("gpu", record)
    sys.stdout.write(json.dumps({name: value for name, value in record.items() if name != "runs"}, indent=1) + "\n")


if __name__ == "__main__":
    main()
