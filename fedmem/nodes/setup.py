"""What a node is sent at a run's beginning, all of it public: configuration, items, and their features."""

import json
from typing import Any

import numpy as np

from fedmem.checkpoint.records import dataset_of, dataset_record
from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.features.store import ItemFeatures
from fedmem.nodes.letter import Array, Letter


def setup_letter(config: ExperimentConfig, catalogue: FederatedDataset, features: ItemFeatures) -> Letter:
    """Write the setup of a run on this catalogue."""
    told = np.frombuffer(json.dumps(dataset_record(catalogue)).encode(), np.uint8)
    return Letter({"config": config.model_dump(mode="json")}, features.to_arrays() | {"catalogue": told})


def catalogue_of(setup: Letter) -> FederatedDataset:
    """Read the items: a data set without users."""
    told: dict[str, Any] = json.loads(setup.arrays["catalogue"].tobytes())
    none: dict[str, Array] = {
        "offsets": np.zeros(1, np.int64),
        "sequence": np.zeros(0, np.int32),
        "cold_users": np.zeros(0, np.int64),
    }
    return dataset_of(told, none)
