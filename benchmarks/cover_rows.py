"""What cover traffic for item rows hides of a history, and what it costs: AUC against NDCG@10.

    python -m benchmarks.cover_rows --data PATH_TO_ML_100K

A client adds to a share of the rows that its history does not touch what looks like a row that it does: a random
combination of its own rows, of a length drawn among theirs. One share after the other, the default configuration is
trained with it for --rounds rounds, and then --clients clients are attacked:

length     AUC of a history, items ordered by how far their row moves in one client's update.
direction  the same, by how far they move along the update's first principal direction, whichever end of it is better:
           for an attacker who knows of the cover.
ten        as length, in the mean of ten updates: a client takes part again and again, and cover is drawn anew.
noise      length of the cover over that of the update.
ndcg       NDCG@10 on validation, without the transition memory.

Rows are sent whole in any case, so that no byte is added. Writes benchmarks/results/cover_rows-NAME.json.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import machine, write_result
from fedmem.attacks.interaction_inference import interaction_auc, row_lengths
from fedmem.config_reader import validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.features.inference import one_thread
from fedmem.federated.client import FedMemClient
from fedmem.federated.messages import ITEM_ROWS, ClientUpdate
from fedmem.federated.postprocessing import Postprocessor
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import build_model, initial_state
from fedmem.snapshot import take_snapshot

Floats = npt.NDArray[np.float64]


class Cover(Postprocessor):
    """Moves rows that a client's history does not touch as if it did."""

    def __init__(self, share: float) -> None:
        self.share = share

    def postprocess_one_client(self, update: ClientUpdate, rng: np.random.Generator) -> ClientUpdate:
        """Add it to an update of a loss over the whole catalogue, of which the longest rows are the history's."""
        if not self.share:
            return update
        rows = update.delta[ITEM_ROWS]
        order = 1 + np.argsort(-np.linalg.norm(rows[1:], axis=1), kind="stable")
        own, others = order[: update.num_samples], order[update.num_samples :]
        covered = rng.permutation(others)[: round(self.share * len(others))]
        moved = rows.copy()
        moved[covered] += _like(rows[own].astype(np.float64), len(covered), rng).astype(rows.dtype)
        return replace(update, delta={**update.delta, ITEM_ROWS: moved})


def _like(own: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Draw so many rows that have the second moments and the lengths of these."""
    drawn = rng.standard_normal((count, len(own))) @ own
    lengths = rng.choice(np.linalg.norm(own, axis=1), count)
    found: Floats = drawn * (lengths / np.maximum(np.linalg.norm(drawn, axis=1), 1e-30))[:, None]
    return found


def direction(update: ClientUpdate) -> Floats:
    """Score every item by its row along the first principal direction."""
    rows = update.delta[ITEM_ROWS].astype(np.float64)
    _, vectors = np.linalg.eigh(rows.T @ rows)
    found: Floats = rows @ vectors[:, -1]
    return found


def measured(dataset: FederatedDataset, share: float, rounds: int, clients: int) -> dict[str, float]:
    """Train with cover of this share, and attack clients of the next round."""
    config = validate_config(
        {"evaluation": {"eval_every": rounds}, "ablation": {"disable_transitions": True}}, "the benchmark"
    )
    snapshot = take_snapshot(config, dataset)
    model = build_model(config, dataset.num_items, snapshot.features)
    population = SimulatedPopulation(config, dataset, snapshot.features, snapshot.user_features, model)
    state = initial_state(config, model, snapshot.features)
    server = FedMemServer(config, dataset.trainable_users, population, state, (Cover(share),))
    reports = [server.run_round() for _ in range(rounds)]
    validation = reports[-1].validation
    assert validation is not None, "the last round is validated"
    found = _attacked(server, population, Cover(share), clients)
    population.close()
    mean, error = validation.values["NDCG@10"]
    return {"share": share, **found, "ndcg": mean, "standard_error": error}


def _attacked(server: FedMemServer, population: SimulatedPopulation, cover: Cover, clients: int) -> dict[str, float]:
    broadcast, rng = server.distribute_model(), np.random.default_rng(0)
    found: dict[str, list[float]] = {"length": [], "direction": [], "ten": [], "noise": []}
    for one in population.host.chunk(server.select_clients()[:clients], broadcast.round).singly():
        plain = FedMemClient(server.config.fedmem, one).participate(population.host.trainer, broadcast)
        sent, history = cover.postprocess_one_client(plain, rng), one.data[0].history
        along = interaction_auc(direction(sent), history)
        found["length"].append(interaction_auc(row_lengths(sent), history))
        found["direction"].append(max(along, 1 - along))
        several = [cover.postprocess_one_client(plain, rng).delta[ITEM_ROWS] for _ in range(10)]
        mean = replace(sent, delta={ITEM_ROWS: np.mean(several, axis=0)})
        found["ten"].append(interaction_auc(row_lengths(mean), history))
        found["noise"].append(_added(sent, plain))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _added(sent: ClientUpdate, plain: ClientUpdate) -> float:
    whole = np.sqrt(sum(float(np.square(values).sum()) for values in plain.delta.values()))
    return float(np.linalg.norm(sent.delta[ITEM_ROWS] - plain.delta[ITEM_ROWS]) / whole)


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.1, 0.5, 1.0])
    parser.add_argument("--clients", type=int, default=60)
    asked = parser.parse_args()
    dataset, rows = load_dataset(asked.data), []
    for share in asked.shares:
        with one_thread():
            rows.append(measured(dataset, share, asked.rounds, asked.clients))
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    record: dict[str, Any] = {"rounds": asked.rounds, "clients": asked.clients, "rows": rows, "machine": machine()}
    sys.stdout.write(f"kept in {write_result(f'cover_rows-{dataset.name}', record)}\n")


if __name__ == "__main__":
    main()
