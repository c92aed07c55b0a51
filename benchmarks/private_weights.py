"""NDCG@10 against epsilon where the weights are differentially private, with and without the transition memory.

    python -m benchmarks.private_weights --data data/ml-100k

A run for each budget and clipping norm, one seed; clip and round are chosen on validation, test is read for those.
Epsilon "inf" clips and draws Poisson samples without noise. For ten and a hundred times as many users the noise is
divided by so much, while the data stay the same. The table of transitions is exact, and not covered by the budget:
"without" is what the weights alone give. Delta is 1e-6. Runs are kept in --out and taken up again; of all that are
there benchmarks/results/private_weights-NAME.json is written.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.kept_run import ndcg, study, trained
from fedmem.config_reader import validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.privacy.accountant import noise_for_rounds

DELTA = 1e-6


def main() -> None:
    """Train what is not there yet, and print each run's validation and test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ML-100K, or another data set")
    parser.add_argument("--out", type=Path, default=Path("runs/private_weights"))
    parser.add_argument("--epsilon", type=float, nargs="+", default=[float("inf"), 16.0, 8.0, 4.0, 2.0])
    parser.add_argument("--clip", type=float, nargs="+", default=[5.0, 20.0, 40.0])
    parser.add_argument("--users", type=int, nargs="+", default=[1], help="times as many users")
    parser.add_argument("--fraction", type=float, default=0.1, help="share of the users in a round")
    parser.add_argument("--rounds", type=int, default=60)
    chosen = parser.parse_args()
    dataset = load_dataset(chosen.data)
    runs = {
        f"{chosen.rounds}x{chosen.fraction:g}-epsilon{epsilon:g}-clip{clip:g}-users{users}": partial(
            _trained, dataset, (epsilon, clip, users), chosen.rounds, chosen.fraction
        )
        for users, clip, epsilon in product(chosen.users, chosen.clip, chosen.epsilon)
    }
    study("private_weights", dataset.name, chosen.out, runs, delta=DELTA)


def _trained(
    dataset: FederatedDataset, private: tuple[float, float, int], rounds: int, fraction: float, path: Path
) -> dict[str, Any]:
    """Train one model with (epsilon, clip, users), from its last checkpoint if there is one, and test it."""
    epsilon, clip, users = private
    noise = 0.0 if epsilon == float("inf") else noise_for_rounds(epsilon, DELTA, fraction, rounds) / users
    config = validate_config(
        {
            "privacy": {"weights_noise": noise, "weights_clip": clip, "delta": DELTA},
            "federated": {"num_rounds": rounds, "client_fraction": fraction},
        },
        "the benchmark",
    )
    result, best = trained(config, dataset, path)
    return {
        "epsilon": None if epsilon == float("inf") else epsilon,
        "users": users,
        "clip": clip,
        "noise": noise,
        "rounds": rounds,
        "round": result.round,
        "strength": result.strength,
        **ndcg(result, best),
    }


if __name__ == "__main__":
    main()
