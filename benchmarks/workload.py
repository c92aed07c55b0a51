"""W, the workload of the speed benchmarks: generated users and SASRec with four local Adam steps of a sampled loss."""

from typing import Any

import numpy as np

from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged, validate_config
from fedmem.data.federated_dataset import FederatedDataset

SHORTEST, LONGEST = 60, 130
# Flattens the head of the popularity curve, so that a user seldom meets the same item twice.
HEAD = 50

W: dict[str, dict[str, Any]] = {
    "features": {"text": "off", "image": "off", "preference_text": "off"},
    "model": {
        "sasrec_hidden_dim": 64,
        "sasrec_num_blocks": 2,
        "sasrec_num_heads": 2,
        "sasrec_dropout": 0.0,
        "max_seq_len": 50,
    },
    "training": {
        "loss": "sampled_softmax",
        "optimizer": "adam",
        "learning_rate": 0.001,
        "batch_size": None,
        "num_negatives": 100,
        "crop_probability": 0.0,
    },
    "federated": {
        "local_epochs": 4,
        "server_optimizer": "none",
        "server_learning_rate": 1.0,
        "server_warmup_steps": 0,
        "server_averaging": 0.0,
    },
    # No validation: what is measured is training.
    "evaluation": {"eval_every": 1_000_000},
    "ablation": {"disable_moe": True},
}


def p1_config(**changes: Any) -> ExperimentConfig:
    """Change W's configuration by section: ``p1_config(seed=3, federated={"client_fraction": 0.25})``."""
    return validate_config(merged(W, changes), "the benchmark")


def generated_dataset(num_users: int, num_items: int) -> FederatedDataset:
    """Draw users with 60 to 130 training interactions, of probability ∝ 1 / (rank + 50) of the item."""
    rng = np.random.default_rng(0)
    # The last two items of a sequence are validation and test.
    lengths = rng.integers(SHORTEST, LONGEST + 1, size=num_users) + 2
    popularity = 1 / (np.arange(1, num_items + 1) + HEAD)
    drawn = rng.choice(num_items, size=int(lengths.sum()), p=popularity / popularity.sum()) + 1
    sequences = [part.tolist() for part in np.split(drawn, np.cumsum(lengths)[:-1])]
    return FederatedDataset.from_sequences(sequences, num_items, name=f"W-{num_users}-{num_items}")
