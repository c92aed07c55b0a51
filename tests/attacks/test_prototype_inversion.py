"""Prototype inversion on catalogues whose answer is known."""

import numpy as np
import pytest

from fedmem.attacks.prototype_inversion import matching_pursuit, nearest, nearest_rate, recall
from fedmem.memory.prototypes import FrozenItemBlocks, Prototypes, distil_chunk
from fedmem.modality import Modality

ITEMS, DIM = 60, 24


@pytest.fixture(scope="module")
def catalogue() -> FrozenItemBlocks:
    """Item 0 is padding, item 7 has no text."""
    rows = np.random.default_rng(0).standard_normal((ITEMS + 1, DIM)).astype(np.float32)
    known = ~np.isin(np.arange(ITEMS + 1), (0, 7))
    return FrozenItemBlocks({Modality.TEXT: rows * known[:, None]}, {Modality.TEXT: known})


def uploaded(catalogue, items):
    """The prototypes of a memory of these items, from three shared starting ones."""
    drawn = np.random.default_rng(1).standard_normal((3, DIM)).astype(np.float32)
    ids = np.zeros((3, 4), np.float32)
    one = np.ones(3, np.float32)
    start = Prototypes(
        {Modality.TEXT: drawn, Modality.SEQUENTIAL: ids}, dict.fromkeys((Modality.TEXT, Modality.SEQUENTIAL), one)
    )
    held = np.array([items], np.int32)
    return distil_chunk(held, np.zeros((1, len(items), 4), np.float32), catalogue, start).of_client(0)


def test_a_memory_is_taken_from_its_prototypes_item_by_item(catalogue):
    items = np.array([3, 11, 12, 29, 30, 41, 58], np.int32)
    found = matching_pursuit(uploaded(catalogue, items), catalogue, 50)
    assert sorted(found.tolist()) == items.tolist()
    assert recall(uploaded(catalogue, items), items, catalogue, 50) == (1.0, len(items) / ITEMS)


def test_a_prototype_of_one_item_names_it(catalogue):
    prototypes = uploaded(catalogue, np.array([29], np.int32))
    assert nearest(prototypes, catalogue).tolist() == [29]
    assert nearest_rate(prototypes, np.array([29]), catalogue) == 1.0
    assert nearest_rate(prototypes, np.array([30]), catalogue) == 0.0


def test_what_has_no_text_is_neither_found_nor_guessed(catalogue):
    found = matching_pursuit(uploaded(catalogue, np.array([7, 11], np.int32)), catalogue, 50)
    assert found.tolist() == [11]
