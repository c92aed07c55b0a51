"""The map of a catalogue, and what a reader is told of each prototype."""

import numpy as np
import pytest

from fedmem.memory.prototype_map import NEAREST, PrototypeMap, describe
from fedmem.memory.prototypes import Prototypes
from fedmem.modality import Modality

TEXT, ID = Modality.TEXT, Modality.SEQUENTIAL

RNG = np.random.default_rng(0)
# Three directions of falling spread; the last item has no vector.
VECTORS = (RNG.standard_normal((40, 6)) * [5, 2, 0.1, 0.1, 0.1, 0.1] + 3).astype(np.float32)
MASK = np.arange(40) != 39


def prototypes_at(centroids: np.ndarray, counts: list[float]) -> Prototypes:
    mass = np.array(counts, np.float32)
    blocks = {TEXT: centroids.astype(np.float32), ID: np.ones((len(counts), 2), np.float32)}
    return Prototypes({name: v * mass[:, None] for name, v in blocks.items()}, dict.fromkeys(blocks, mass))


def test_the_map_shows_the_two_directions_in_which_items_differ_most():
    drawn = PrototypeMap.of(TEXT, VECTORS, MASK)
    spread = drawn.points[MASK].std(0)
    assert spread[0] > spread[1] > 1
    np.testing.assert_allclose(drawn.basis @ drawn.basis.T, np.eye(2), atol=1e-5)
    assert np.isnan(drawn.points[39]).all()
    np.testing.assert_allclose(drawn.place(VECTORS[:5]), drawn.points[:5], atol=1e-4)


def test_the_map_does_not_depend_on_the_sign_that_the_decomposition_chose():
    drawn = PrototypeMap.of(TEXT, VECTORS, MASK)
    largest = np.abs(drawn.basis).argmax(1)
    assert (drawn.basis[np.arange(2), largest] > 0).all()


def test_a_catalogue_of_one_item_has_a_map():
    drawn = PrototypeMap.of(TEXT, VECTORS[:1], MASK[:1])
    np.testing.assert_allclose(drawn.points, 0, atol=1e-5)


def test_a_prototype_is_told_by_its_nearest_items_its_mass_and_its_drift():
    found = prototypes_at(np.stack([VECTORS[7], VECTORS[20], np.zeros(6)]), [3.0, 1.0, 0.0])
    moved = prototypes_at(np.stack([VECTORS[7] * 2, -VECTORS[20], np.zeros(6)]), [1.0, 1.0, 0.0])
    drawn = PrototypeMap.of(TEXT, VECTORS, MASK)
    first, second, empty = describe(found, moved, drawn, VECTORS, MASK)
    assert [p["mass"] for p in (first, second, empty)] == [0.75, 0.25, 0.0]
    assert first["nearest"][0] == [8, pytest.approx(1)]
    assert second["nearest"][0][0] == 21
    assert len(first["nearest"]) == NEAREST
    assert 40 not in [item for item, _ in first["nearest"] + second["nearest"]]
    assert first["drift"] == pytest.approx(0, abs=1e-6)
    assert second["drift"] == pytest.approx(2)
    assert (first["x"], first["y"]) == pytest.approx(tuple(drawn.points[7]), abs=1e-4)
    assert empty["nearest"] == []


def test_the_first_time_there_is_no_drift():
    drawn = PrototypeMap.of(TEXT, VECTORS, MASK)
    (only,) = describe(prototypes_at(VECTORS[:1], [2.0]), None, drawn, VECTORS, MASK)
    assert only["drift"] is None
