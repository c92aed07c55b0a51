# Flower is installed in an environment of its own, out of mypy's sight.
# mypy: disable-error-code="import-not-found"
"""Flower's side, run by the Python of Flower's environment: ``python -m benchmarks.flower.run_flower FOLDER ...``."""

import argparse
import json
from pathlib import Path

import flwr
import numpy as np
import ray
import torch
from flwr.simulation import run_simulation

from benchmarks.flower.flower_app import MeasuredFedAvg, Workload, client_app, server_app
from benchmarks.flower.process_time import adopt_orphans


def main() -> None:
    """Run one warm-up round, then the measured ones; save the figures and the warm-up's parameters in the folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--actors", type=int, required=True)
    arguments = parser.parse_args()
    adopt_orphans()
    users = len(Workload.of(str(arguments.folder)).clients)
    strategy = MeasuredFedAvg(fraction_evaluate=0.0, min_train_nodes=users, min_available_nodes=users)
    run_simulation(
        server_app(arguments.folder, arguments.rounds + 1, strategy),
        client_app,
        num_supernodes=users,
        backend_config={
            "init_args": {"num_cpus": arguments.actors, "include_dashboard": False},
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        },
    )
    assert strategy.first is not None, "no round was completed"
    first, *_, last = strategy.readings
    figures = {"updates": sum(strategy.updates[1:])} | last.since(first)
    versions = {"flwr": flwr.__version__, "ray": ray.__version__, "torch": torch.__version__}
    np.savez(arguments.folder / "flower.npz", **{name: array.numpy() for name, array in strategy.first.items()})
    (arguments.folder / "flower.json").write_text(json.dumps(figures | {"versions": versions}))


if __name__ == "__main__":
    main()
