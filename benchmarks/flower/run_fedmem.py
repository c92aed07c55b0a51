"""FedMem's side: ``python -m benchmarks.flower.run_fedmem FOLDER --users U --items I --rounds R``."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.flower.process_time import Reading, adopt_orphans
from benchmarks.workload import generated_dataset, p1_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import build_model, initial_state


def server_of(dataset: FederatedDataset) -> FedMemServer:
    """Make a server on W in whose rounds every user takes part."""
    config = p1_config(federated={"client_fraction": 1.0})
    features = ItemFeatures(dataset.num_items)
    model = build_model(config, dataset.num_items, features)
    population = SimulatedPopulation(config, dataset, features, UserFeatures.empty(dataset.num_users), model)
    return FedMemServer(config, dataset.trainable_users, population, initial_state(config, model, features))


def main() -> None:
    """Run one warm-up round, then the measured ones; save the figures and the warm-up's parameters in the folder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name in ("users", "items", "rounds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    adopt_orphans()
    torch.set_num_threads(1)
    server = server_of(generated_dataset(arguments.users, arguments.items))
    server.run_round()
    np.savez(arguments.folder / "fedmem.npz", **server.state.parameters)  # type: ignore[arg-type]
    before = Reading.now()
    updates = sum(int(server.run_round().metrics["clients"]) for _ in range(arguments.rounds))
    figures = {"updates": updates} | Reading.now().since(before)
    (arguments.folder / "fedmem.json").write_text(json.dumps(figures | {"versions": {"torch": torch.__version__}}))


if __name__ == "__main__":
    main()
