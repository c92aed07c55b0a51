"""Baselines: formulas against slow twins, no look at validation or test, and the figures on real data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats import load_dataset
from fedmem.errors import DataError
from fedmem.evaluation import baselines
from fedmem.evaluation.baselines import EASE, ItemItemCounts, Popularity, chance, recency_weights
from fedmem.evaluation.evaluate import Scorer, evaluate

BASELINES: list[Callable[[FederatedDataset], Scorer]] = [Popularity, ItemItemCounts, EASE]
NOTHING = np.zeros(0, dtype=np.int32)


def training_sequences(dataset: FederatedDataset) -> list[list[int]]:
    return [dataset.training_history(user).tolist() for user in dataset.trainable_users.tolist()]


def test_recency_weights_by_hand() -> None:
    np.testing.assert_allclose(recency_weights(3, 1.0), [1 / 3, 1 / 2, 1.0], rtol=1e-6)
    assert len(recency_weights(0, 1.0)) == 0


def test_popularity_counts_training_interactions_alone(chains: FederatedDataset) -> None:
    scores = Popularity(chains).score(np.array([0, 1]), [NOTHING, np.array([3])])
    expected = np.bincount(np.concatenate(training_sequences(chains)), minlength=41)
    np.testing.assert_array_equal(scores, [expected, expected])


def test_item_item_counts_equal_a_loop_over_pairs(chains: FederatedDataset) -> None:
    counts, popularity = np.zeros((41, 41)), np.zeros(41)
    for sequence in training_sequences(chains):
        for position, item in enumerate(sequence):
            popularity[item] += 1
            for distance, later in enumerate(sequence[position + 1 : position + 4], start=1):
                counts[item, later] += 1 / distance
    popularity = np.maximum(popularity, 1)
    counts /= popularity[:, None] ** 0.5 * popularity[None, :] ** 0.3
    expected = 1.0 * counts[7] + 1 / 2 * counts[5] + 1 / 3 * counts[5]
    scores = ItemItemCounts(chains, window=3).score(np.array([0]), [np.array([5, 5, 7])])
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5)


def test_ease_solves_its_least_squares_problem(chains: FederatedDataset) -> None:
    watched = np.zeros((50, 41))
    for row, sequence in enumerate(training_sequences(chains)):
        watched[row, sequence] = 1
    weights = EASE(chains, regularisation=3.0).weights
    assert np.all(np.diag(weights) == 0)
    for item in range(1, 41):
        # Column i of B is ridge regression of item i on all the others, whose closed form has no Lagrangian.
        others = np.delete(watched[:, 1:], item - 1, axis=1)
        column = np.linalg.solve(others.T @ others + 3.0 * np.eye(39), others.T @ watched[:, item])
        np.testing.assert_allclose(np.delete(weights[1:, item], item - 1), column, atol=1e-5)


def test_ease_weighs_the_history_by_recency(chains: FederatedDataset) -> None:
    ease = EASE(chains, recency_power=1.0)
    scores = ease.score(np.array([0]), [np.array([5, 7])])
    np.testing.assert_allclose(scores[0], 0.5 * ease.weights[5] + ease.weights[7], rtol=1e-5)


@pytest.mark.parametrize("baseline", [ItemItemCounts, EASE])
def test_an_empty_history_is_scored_by_popularity(
    chains: FederatedDataset, baseline: Callable[[FederatedDataset], Scorer]
) -> None:
    users, histories = np.array([0, 1]), [NOTHING, np.array([3])]
    scores = baseline(chains).score(users, histories)
    popular = Popularity(chains).score(users, histories)
    np.testing.assert_array_equal(scores[0], popular[0])
    assert not np.array_equal(scores[1], popular[1])


@pytest.mark.parametrize("baseline", BASELINES)
def test_validation_test_and_cold_users_never_reach_training(
    chains: FederatedDataset, baseline: Callable[[FederatedDataset], Scorer]
) -> None:
    """Leak guard: other held-out items, or other interactions of users who never train, leave every score as it was."""
    sequence = chains.sequence.copy()
    ends = chains.offsets[1:]
    sequence[ends - 1], sequence[ends - 2] = 1, 2
    for user in chains.cold_users.tolist():
        sequence[chains.offsets[user] : chains.offsets[user + 1]] = 3
    changed = FederatedDataset(
        chains.vocabulary,
        chains.items,
        chains.offsets,
        sequence,
        chains.min_sequence_length,
        cold_users=chains.cold_users,
    )
    assert changed.digest != chains.digest
    users, histories = np.array([0, 1]), [np.array([4, 9, 30]), np.array([12])]
    np.testing.assert_array_equal(baseline(changed).score(users, histories), baseline(chains).score(users, histories))


@pytest.mark.parametrize("baseline", [ItemItemCounts, EASE])
def test_structure_is_found(chains: FederatedDataset, baseline: Callable[[FederatedDataset], Scorer]) -> None:
    measured = evaluate(chains, baseline(chains), "test").mean("HR@5")
    assert measured > evaluate(chains, Popularity(chains), "test").mean("HR@5") + 0.2


def test_ease_refuses_a_catalogue_it_cannot_hold(chains: FederatedDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "EASE_MAX_ITEMS", 39)
    with pytest.raises(DataError, match="'chains' has 40 items, above its limit of 39"):
        EASE(chains)


@pytest.mark.parametrize("baseline", [ItemItemCounts, EASE])
def test_no_user_to_learn_from_is_an_error(baseline: Callable[[FederatedDataset], Scorer]) -> None:
    with pytest.raises(DataError, match="no user to train on"):
        baseline(FederatedDataset.from_sequences([[1, 2]], 2))


def test_chance_by_hand() -> None:
    # Test: user 0 knows 4 of 10 items, user 1 knows 4 of them twice, so each has 6 candidates.
    dataset = FederatedDataset.from_sequences([[1, 2, 3, 4, 5], [1, 2, 3, 4, 4, 3, 5]], 10)
    table = chance(dataset, "test", k_list=[3, 20])
    assert table.mean("HR@3") == pytest.approx(3 / 6)
    assert table.mean("HR@20") == 1.0
    assert table.mean("NDCG@3") == pytest.approx((1 + 1 / np.log2(3) + 0.5) / 6)
    assert table.mean("MRR") == pytest.approx(np.mean(1 / np.arange(1, 7)))


def test_chance_never_hits_what_is_not_offered() -> None:
    dataset = FederatedDataset.from_sequences([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 5]], 10)
    table = chance(dataset, "test", k_list=[3, 20])
    assert (table.mean("HR@3"), table.mean("HR@20"), table.num_users) == (pytest.approx(3 / 6 / 2), 0.5, 2)
    offered = chance(replace(dataset, repeats="offer"), "test", k_list=[3, 20])
    assert (offered.mean("HR@3"), offered.mean("HR@20")) == (pytest.approx(3 / 10), 1.0)


@pytest.mark.parametrize("baseline", BASELINES)
def test_on_uniformly_random_targets_everything_is_at_chance(baseline: Callable[[FederatedDataset], Scorer]) -> None:
    generator = np.random.default_rng(3)
    sequences = [(generator.permutation(60)[:12] + 1).tolist() for _ in range(1500)]
    dataset = FederatedDataset.from_sequences(sequences, 60)
    expected = chance(dataset, "test")
    measured = evaluate(dataset, baseline(dataset), "test")
    for name in expected.values:
        assert abs(measured.mean(name) - expected.mean(name)) < 3.5 * expected.standard_error(name)
        assert measured.standard_error(name) == pytest.approx(expected.standard_error(name), rel=0.1)


@pytest.fixture(scope="module")
def ml_100k(shared_data: Path) -> FederatedDataset:
    return load_dataset(shared_data / "ml-100k")


@pytest.mark.parametrize(
    ("baseline", "hit_ratio", "ndcg"),
    [(Popularity, 0.0838, 0.0436), (ItemItemCounts, 0.2036, 0.1111), (EASE, 0.2110, 0.1116)],
)
def test_figures_on_movielens_100k(
    ml_100k: FederatedDataset, baseline: Callable[[FederatedDataset], Scorer], hit_ratio: float, ndcg: float
) -> None:
    table = evaluate(ml_100k, baseline(ml_100k), "test")
    assert table.num_users == 943
    # One user's hit is worth .0011: room for two users whose tie falls otherwise on another machine.
    assert table.mean("HR@10") == pytest.approx(hit_ratio, abs=0.0025)
    assert table.mean("NDCG@10") == pytest.approx(ndcg, abs=0.0025)


def test_chance_on_movielens_100k(ml_100k: FederatedDataset) -> None:
    assert chance(ml_100k, "test").mean("HR@10") == pytest.approx(0.0064, abs=0.0001)
