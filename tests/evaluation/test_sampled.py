"""Stored negatives: what may be drawn, that they survive the disk, and the rank among them."""

from pathlib import Path

import numpy as np
import pytest

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import DataError
from fedmem.evaluation.baselines import Popularity
from fedmem.evaluation.evaluate import evaluate
from fedmem.evaluation.sampled import StoredNegatives, sampled_evaluate


def draw(dataset: FederatedDataset, seed: int = 1, count: int = 10) -> StoredNegatives:
    return StoredNegatives.draw(dataset, "test", np.random.default_rng(seed), count=count)


def test_negatives_are_distinct_unknown_and_not_the_target(chains: FederatedDataset) -> None:
    negatives = draw(chains)
    assert negatives.items.shape == (50, 10)
    for user, items in zip(negatives.users.tolist(), negatives.items.tolist(), strict=True):
        assert len(set(items)) == 10
        assert not set(items) & {0, *chains.history(user).tolist()}


def test_the_seed_decides_and_the_disk_keeps(chains: FederatedDataset, tmp_path: Path) -> None:
    negatives = draw(chains)
    negatives.save(tmp_path / "negatives.npz")
    loaded = StoredNegatives.load(tmp_path / "negatives.npz")
    np.testing.assert_array_equal(loaded.items, negatives.items)
    np.testing.assert_array_equal(draw(chains).items, negatives.items)
    assert not np.array_equal(draw(chains, seed=2).items, negatives.items)
    scorer = Popularity(chains)
    assert sampled_evaluate(chains, scorer, "test", loaded).values == (
        sampled_evaluate(chains, scorer, "test", negatives, batch_size=3).values
    )


def test_against_all_unknown_items_it_is_the_full_ranking() -> None:
    dataset = FederatedDataset.from_sequences([[1, 2, 3, 4, 5], [2, 3, 4, 5, 6], [9, 8, 7, 1, 2]], 12)
    scorer = Popularity(dataset)
    sampled = sampled_evaluate(dataset, scorer, "test", draw(dataset, count=7))
    np.testing.assert_array_equal(sampled.ranks, evaluate(dataset, scorer, "test").ranks)


def test_too_many_negatives_names_the_user(chains: FederatedDataset) -> None:
    with pytest.raises(DataError, match=r"user '\d+' has \d+ unknown items and 39 negatives"):
        draw(chains, count=39)


def test_negatives_of_another_split_or_data_set_are_refused(chains: FederatedDataset) -> None:
    other = FederatedDataset.from_sequences([[1, 2, 3, 4, 5]], 40)
    with pytest.raises(DataError, match="not for the validation split"):
        sampled_evaluate(chains, Popularity(chains), "validation", draw(chains))
    with pytest.raises(DataError, match="draw them again"):
        sampled_evaluate(other, Popularity(other), "test", draw(chains))


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04broken"])
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "negatives.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"negatives\.npz"):
        StoredNegatives.load(path)


def test_an_array_alone_and_a_missing_file_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "negatives.npy", np.zeros(3))
    for name in ["negatives.npy", "absent.npz"]:
        with pytest.raises(DataError, match=name):
            StoredNegatives.load(tmp_path / name)
