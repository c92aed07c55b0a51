"""Rounds a minute with 1, 2 and 4 workers of each engine, in one interleaved run on ML-100K.

    python -m benchmarks.engines --data PATH_TO_ML_100K [--flower .venv-flower] [--keep]

Sides: the simulation in one process and with worker processes, Ray's actors on this machine with as many shards, and,
where `make flower` was run, Flower on loopback with so many nodes that share the users. All train FedMem-Full with the
same settings, a tenth of the users a round, and no preference texts, which nodes would have to encode. A side runs a
round in each turn; the first turn of each is left out. Ratios are those of the median seconds to the simulation in one
process; more processes than the machine has cores cannot be faster. All sides stay alive, idle, through the run.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.flower.over_network import started
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.simulate import TEXT_DIM, configured
from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.features.inference import one_thread
from fedmem.features.store import FrozenVectors, ItemFeatures, UserFeatures
from fedmem.federated.ray_cluster import Cluster
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import build_model, initial_state
from fedmem.modality import Modality
from fedmem.nodes.flower_courier import FlowerCourier
from fedmem.nodes.flower_settings import FlowerSettings
from fedmem.nodes.population import NodePopulation
from fedmem.nodes.setup import setup_letter
from fedmem.sockets import bound_socket

WORKERS = (1, 2, 4)
PEER = "simulation, 1"
PATIENCE = 120  # seconds for Flower's processes to be there


def features_of(dataset: FederatedDataset) -> ItemFeatures:
    """Draw vectors of the items' texts, whose values cost no time."""
    drawn = np.random.default_rng(0).standard_normal((dataset.num_items, TEXT_DIM)).astype(np.float32)
    return ItemFeatures(dataset.num_items, {Modality.TEXT: FrozenVectors.fitted(list(drawn))})


def here(dataset: FederatedDataset, stack: ExitStack, **changes: Any) -> FedMemServer:
    """Make a server whose clients are of this installation."""
    config = configured(features={"preference_text": "off"}, **changes)
    features = features_of(dataset)
    model = build_model(config, dataset.num_items, features)
    population = SimulatedPopulation(config, dataset, features, UserFeatures.empty(dataset.num_users), model)
    stack.enter_context(closing(population))
    return FedMemServer(config, dataset.trainable_users, population, initial_state(config, model, features))


def over_flower(dataset: FederatedDataset, stack: ExitStack, flower: Path, nodes: int) -> FedMemServer:
    """Start a SuperLink and nodes that share the users, and make a server whose clients are there."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    link, wait = free_port(), {"minimum_nodes": nodes, "wait": PATIENCE}
    common = ["--insecure", "--host", "127.0.0.1", "--port"]
    serve = ["flower-superlink", *common, str(link), "--disable-runtime-dependency-installation"]
    stack.enter_context(started(serve, folder / "link.log", flower))
    for number, users in enumerate(np.array_split(np.arange(dataset.num_users), nodes)):
        write_users(dataset, users.tolist(), folder / f"{number}.csv")
        told = f'name="{number}" data="{folder / str(number)}.csv" store="{folder / str(number)}"'
        node = ["flower-supernode", *common, str(free_port()), "--superlink", f"127.0.0.1:{link}"]
        stack.enter_context(started([*node, "--node-config", told], folder / f"{number}.log", flower))
    config = configured(engine="flower", flower=wait, features={"preference_text": "off"})
    settings = FlowerSettings(superlink=f"127.0.0.1:{link}", flower_env=flower)
    return _server_of_nodes(config, dataset.catalogue(), FlowerCourier(settings), folder, stack)


def _server_of_nodes(
    config: ExperimentConfig, catalogue: FederatedDataset, courier: FlowerCourier, folder: Path, stack: ExitStack
) -> FedMemServer:
    features = features_of(catalogue)
    setup = setup_letter(config, catalogue, features)
    population = NodePopulation.assembled(config, setup, courier, folder / "nodes.json")
    stack.enter_context(closing(population))
    state = initial_state(config, build_model(config, catalogue.num_items, features), features)
    return FedMemServer(config, population.evaluating(), population, state)


def write_users(dataset: FederatedDataset, users: list[int], path: Path) -> None:
    """Write some users' interactions as a file that a node reads."""
    ids = dataset.vocabulary
    rows = [(ids.user_id(user), ids.item_id(item)) for user in users for item in dataset.history(user).tolist()]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(path, index=False)


def free_port() -> int:
    """Find a port of loopback that nothing has."""
    with bound_socket("127.0.0.1", 0) as found:
        return int(found.getsockname()[1])


def turns(sides: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Measure seconds of each side, turn by turn; the first turn of each is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repetitions + 1):
        for name, side in sides.items():
            began = time.monotonic()
            side()
            sys.stderr.write(f"turn {turn}: {name}: {time.monotonic() - began:.2f} s\n")
            if turn:
                seconds[name].append(round(time.monotonic() - began, 3))
    return seconds


def figures(seconds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return rounds a minute of each side, and the ratio to the simulation in one process."""
    median = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        name: {
            "rounds_per_minute": round(60 / value, 2),
            "ratio": round(median[PEER] / value, 3),
            "round_seconds": seconds[name],
        }
        for name, value in median.items()
    }


def main() -> None:
    """Measure all sides, print their figures and keep them if asked."""
    parser = keeping_parser("engines", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--flower", type=Path, help="Flower's environment; without it, that engine is left out")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    with one_thread(), ExitStack() as stack:
        stack.callback(Cluster(sum(WORKERS)).end)
        servers = {
            **{f"simulation, {n}": here(dataset, stack, workers=n) for n in WORKERS},
            **{f"ray, {n}": here(dataset, stack, engine="ray", workers=n, federated={"shards": n}) for n in WORKERS},
        }
        if arguments.flower is not None:
            for n in WORKERS:
                servers[f"flower, {n}"] = over_flower(dataset, stack, arguments.flower.resolve(), n)
        clients = {name: len(server.select_clients()) for name, server in servers.items()}
        seconds = turns({name: server.run_round for name, server in servers.items()}, arguments.turns)
    tell("engines", {"sides": figures(seconds), "clients": clients, "machine": machine()}, arguments.keep)


if __name__ == "__main__":
    main()
