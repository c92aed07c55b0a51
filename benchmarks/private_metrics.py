"""What noise on validations costs: the test NDCG@10 of the round and weight that are chosen by noisy validations.

    python -m benchmarks.private_metrics --data PATH_TO_ML_100K

The default configuration is trained with a budget for the weights, epsilon 8, for --rounds rounds; after every tenth
the averaged model is evaluated exactly, on validation and on test, at every weight of the transition memory. Then the
choice is repeated --draws times with the noise that a budget for metrics takes, with the default settings ("all") and
with HR@10 and NDCG@10 at one weight ("few"). For ten times as many users the noise is divided by ten.

test       exact NDCG@10 on test of what is chosen, mean over the draws; ``spread`` is their standard deviation.

Writes benchmarks/results/private_metrics-NAME.json.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine, write_result
from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged, validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.features.inference import one_thread
from fedmem.federated.round import broadcast_to_validate, evaluate_model
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import build_model, initial_state
from fedmem.privacy.metrics_budget import MetricsBudget
from fedmem.snapshot import take_snapshot

EVERY, METRIC = 10, "NDCG@10"
BUDGETS = {"weights_epsilon": 8, "metrics_epsilon": 8}  # of which the noise on weights is computed together
FEW: Mapping[str, Any] = {
    "evaluation": {"metrics": ["HR", "NDCG"], "k_list": [10]},
    "transitions": {"strengths": [0.7]},
}
Exact = dict[str, list[dict[float, float]]]  # by split, of each validation, by weight


def configured(rounds: int, **changes: Any) -> ExperimentConfig:
    """Return the default configuration with budgets."""
    base = {"federated": {"num_rounds": rounds}, "privacy": BUDGETS, "evaluation": {"eval_every": EVERY}}
    return validate_config(merged(base, changes), "the benchmark")


def evaluated(dataset: FederatedDataset, rounds: int) -> Exact:
    """Train, and evaluate after every tenth round."""
    snapshot = take_snapshot(configured(rounds, evaluation={"eval_every": 1_000_000}), dataset)
    config, features = snapshot.config, snapshot.features
    model = build_model(config, dataset.num_items, features)
    population = SimulatedPopulation(config, dataset, features, snapshot.user_features, model)
    server = FedMemServer(config, dataset.trainable_users, population, initial_state(config, model, features))
    found: Exact = {"validation": [], "test": []}
    for number in range(1, rounds + 1):
        server.run_round()
        if number % EVERY == 0:
            broadcast = broadcast_to_validate(config, server.state)
            for split, tables in found.items():
                exactly = evaluate_model(config, broadcast, population, split).tables()  # type: ignore[arg-type]
                tables.append({strength: table.mean(METRIC) for strength, table in exactly.items()})
    population.close()
    return found


def chosen(exact: Exact, strengths: set[float], deviation: float, draws: int) -> list[float]:
    """Choose a round and a weight by validations with noise of this deviation, and read test: one for each draw."""
    rng = np.random.default_rng(0)
    weights = sorted(strengths & exact["validation"][0].keys())
    validation, test = (np.array([[one[w] for w in weights] for one in exact[s]]) for s in ("validation", "test"))
    noisy = validation + deviation * rng.standard_normal((draws, *validation.shape))
    return [float(test.flat[place]) for place in noisy.reshape(draws, -1).argmax(1)]


def measured(dataset: FederatedDataset, rounds: int, draws: int) -> list[dict[str, Any]]:
    """Measure both settings at every budget."""
    exact, users = evaluated(dataset, rounds), len(dataset.evaluated_users)
    rows = []
    for name, changes in (("all", {}), ("few", FEW)):
        for epsilon in (None, 8.0, 2.0):
            for times in (1, 10):
                config = configured(rounds, **merged(dict(changes), {"privacy": {"metrics_epsilon": epsilon}}))
                budget = MetricsBudget.of(config)
                deviation = budget.noise / users / times if budget else 0.0
                found = chosen(exact, {0.0, *config.transitions.strengths}, deviation, draws)
                row = {"settings": name, "epsilon": epsilon, "users": times, "deviation": deviation}
                rows.append({**row, "test": float(np.mean(found)), "spread": float(np.std(found))})
    return rows


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--draws", type=int, default=1000)
    asked = parser.parse_args()
    dataset = load_dataset(asked.data)
    with one_thread():
        rows = measured(dataset, asked.rounds, asked.draws)
    for row in rows:
        sys.stdout.write(f"{row}\n")
    record = {"rounds": asked.rounds, "draws": asked.draws, "rows": rows, "machine": machine()}
    sys.stdout.write(f"kept in {write_result(f'private_metrics-{dataset.name}', record)}\n")


if __name__ == "__main__":
    main()
