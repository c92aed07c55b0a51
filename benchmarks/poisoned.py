"""NDCG@10 where a tenth of the clients' answers are poisoned, by aggregation.

    python -m benchmarks.poisoned --data data/ml-100k

A run for each aggregation and each attack, one seed. An answer is poisoned with probability .1, drawn from (seed,
round, client):

    reversed    the client's change, ten times as long, in the opposite direction
    noise       Gaussian noise, ten times as long as the client's change
    claims      the change in the opposite direction, with a claim of a hundred times as many samples

What clients hand on to the transition memory is not poisoned; "without" is what the weights alone give. Runs are kept
in --out and taken up again; of all that are there benchmarks/results/poisoned-NAME.json is written.
"""

import argparse
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept_run import ndcg, study, trained
from fedmem.config_reader import validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.federated.messages import Arrays, ClientUpdate
from fedmem.federated.postprocessing import Postprocessor
from fedmem.federated.private_weights import length

SHARE, BOOST, CLAIM = 0.1, 10.0, 100
AGGREGATIONS = ("fedavg", "norm_clipping", "trimmed_mean", "median")
ATTACKS = ("none", "reversed", "noise", "claims")


class Poisoned(Postprocessor):
    """Puts something else in the place of some clients' changes."""

    def __init__(self, attack: str, share: float = SHARE) -> None:
        self.attack, self.share = attack, share

    def postprocess_one_client(self, update: ClientUpdate, rng: np.random.Generator) -> ClientUpdate:
        """Poison one answer, or leave it."""
        if rng.random() >= self.share:
            return update
        if self.attack == "claims":
            return replace(update, delta=_times(update.delta, -1.0), num_samples=CLAIM * update.num_samples)
        delta = _noise(update.delta, rng) if self.attack == "noise" else _times(update.delta, -1.0)
        return replace(update, delta=_times(delta, BOOST))


def _times(arrays: Arrays, factor: float) -> Arrays:
    return {name: value * value.dtype.type(factor) for name, value in arrays.items()}


def _noise(like: Arrays, rng: np.random.Generator) -> Arrays:
    noise = {name: rng.standard_normal(value.shape).astype(value.dtype) for name, value in sorted(like.items())}
    return _times(noise, length(like) / length(noise))


def main() -> None:
    """Train what is not there yet, and print each run's validation and test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ML-100K, or another data set")
    parser.add_argument("--out", type=Path, default=Path("runs/poisoned"))
    parser.add_argument("--aggregations", nargs="+", default=AGGREGATIONS, choices=AGGREGATIONS)
    parser.add_argument("--attacks", nargs="+", default=ATTACKS, choices=ATTACKS)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--fraction", type=float, default=0.05, help="share of the users in a round")
    chosen = parser.parse_args()
    dataset = load_dataset(chosen.data)
    runs = {
        f"{chosen.rounds}x{chosen.fraction:g}-{aggregation}-{attack}": partial(
            _trained, dataset, aggregation, attack, chosen.rounds, chosen.fraction
        )
        for attack, aggregation in product(chosen.attacks, chosen.aggregations)
    }
    study("poisoned", dataset.name, chosen.out, runs, share=SHARE)


def _trained(
    dataset: FederatedDataset, aggregation: str, attack: str, rounds: int, fraction: float, path: Path
) -> dict[str, Any]:
    """Train and test one model."""
    config = validate_config(
        {
            "federated": {"num_rounds": rounds, "client_fraction": fraction, "aggregation_method": aggregation},
            "features": {"text": "off"},
        },
        "the benchmark",
    )
    result, best = trained(config, dataset, path, () if attack == "none" else (Poisoned(attack),))
    told = {"aggregation": aggregation, "attack": attack, "rounds": rounds, "fraction": fraction}
    return {**told, "round": result.round, "strength": result.strength, **ndcg(result, best)}


if __name__ == "__main__":
    main()
