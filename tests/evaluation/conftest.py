"""Small data sets with repeating structure, for evaluation tests."""

import numpy as np
import pytest

from fedmem.data.federated_dataset import FederatedDataset


@pytest.fixture
def chains() -> FederatedDataset:
    """60 users who walk through 40 items in a ring, some steps random; 10 of them never train."""
    generator = np.random.default_rng(7)
    sequences = []
    for _ in range(60):
        start, length = int(generator.integers(40)), int(generator.integers(8, 20))
        jumps = generator.integers(1, 3, size=length).cumsum()
        sequences.append(((start + jumps) % 40 + 1).tolist())
    dataset = FederatedDataset.from_sequences(sequences, 40, name="chains")
    return dataset.with_cold_users(1 / 6, generator)
