"""Repeated targets: what is ranked is what may be offered, for every scorer and every way to evaluate."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from fedmem.config import Repeats
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import DataError
from fedmem.evaluation.baselines import EASE, ItemItemCounts, Popularity, chance
from fedmem.evaluation.cold_start import evaluate_cold_start
from fedmem.evaluation.evaluate import Scorer, Scores, Split, evaluate, recommended_lists, repeated_targets
from fedmem.evaluation.ranking_metrics import BoolArray, IntArray
from fedmem.evaluation.sampled import StoredNegatives, sampled_evaluate

ITEMS = 24
SCORERS: list[Callable[[FederatedDataset], Scorer]] = [Popularity, ItemItemCounts, EASE]
SETTINGS: list[Repeats] = ["hide", "offer"]


class WithoutTies:
    """A scorer whose equal scores are told apart by the item."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
        return self.scorer.score(users, histories).astype(np.float64) - 1e-9 * np.arange(ITEMS + 1)


@pytest.fixture
def plays() -> FederatedDataset:
    """40 listeners who come back to a few favourites; 10 of them never train."""
    generator = np.random.default_rng(11)
    sequences = []
    for _ in range(40):
        favourites = generator.choice(ITEMS, size=9, replace=False) + 1
        sequences.append(generator.choice(favourites, size=int(generator.integers(8, 15))).tolist())
    return FederatedDataset.from_sequences(sequences, ITEMS, name="plays").with_cold_users(1 / 4, generator)


def seen_before(dataset: FederatedDataset, users: IntArray, split: Split) -> BoolArray:
    cut = {"validation": -2, "test": -1}[split]
    histories = [dataset.history(user).tolist() for user in users.tolist()]
    return np.array([history[cut] in history[:cut] for history in histories])


def test_the_share_of_repeated_targets_is_counted(plays: FederatedDataset) -> None:
    splits: list[Split] = ["validation", "test"]
    for split in splits:
        repeated = seen_before(plays, plays.evaluated_users, split)
        assert 0.3 < repeated.mean() < 1
        assert repeated_targets(plays, split) == pytest.approx(repeated.mean())
    assert repeated_targets(plays, "test", plays.cold_users) == seen_before(plays, plays.cold_users, "test").mean()
    assert repeated_targets(FederatedDataset.from_sequences([[1, 2, 3, 4, 5]], 9), "test") == 0


@pytest.mark.parametrize("repeats", SETTINGS)
@pytest.mark.parametrize("fitted", SCORERS)
def test_the_rank_is_the_targets_place_in_the_list_that_may_be_offered(
    plays: FederatedDataset, fitted: Callable[[FederatedDataset], Scorer], repeats: Repeats
) -> None:
    dataset = replace(plays, repeats=repeats)
    scorer = WithoutTies(fitted(dataset))
    table = evaluate(dataset, scorer, "test")
    lists = recommended_lists(dataset, scorer, "test", ITEMS)
    repeated = seen_before(dataset, table.users, "test")
    for row, user in enumerate(table.users.tolist()):
        place = np.flatnonzero(lists[row] == dataset.test_target(user))
        assert table.ranks[row] == (place[0] + 1 if len(place) else np.inf)
    assert np.isinf(table.ranks).tolist() == (repeated if repeats == "hide" else np.zeros_like(repeated)).tolist()
    hits = table.per_user(f"HR@{ITEMS}")
    assert hits.tolist() == np.isfinite(table.ranks).astype(float).tolist()


def test_offering_repeats_ranks_them_among_all_items() -> None:
    # Whoever proposes what was taken most lately is right about a listener who plays one thing all the time.
    dataset = FederatedDataset.from_sequences([[1, 2, 2, 2, 2], [3, 4, 4, 4, 4]], 9, name="loops")

    class Latest:
        def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
            scores = np.tile(-np.arange(10.0), (len(users), 1))
            for row, history in enumerate(histories):
                scores[row, history[-1:]] = 1
            return scores

    assert evaluate(dataset, Latest(), "test").mean("HR@10") == 0
    assert evaluate(replace(dataset, repeats="offer"), Latest(), "test").ranks.tolist() == [1, 1]


@pytest.mark.parametrize("repeats", SETTINGS)
def test_sampled_and_cold_start_evaluation_follow(plays: FederatedDataset, repeats: Repeats) -> None:
    dataset = replace(plays, repeats=repeats)
    scorer = Popularity(dataset)
    negatives = StoredNegatives.draw(dataset, "test", np.random.default_rng(0), count=8)
    sampled = sampled_evaluate(dataset, scorer, "test", negatives)
    full = evaluate(dataset, scorer, "test")
    assert np.isinf(sampled.ranks).tolist() == np.isinf(full.ranks).tolist()
    assert np.all(sampled.ranks[np.isfinite(full.ranks)] <= full.ranks[np.isfinite(full.ranks)])
    drawn = {(user, item) for user, row in zip(negatives.users, negatives.items, strict=True) for item in row.tolist()}
    known = {(user, item) for user in negatives.users for item in dataset.test_input(int(user)).tolist()}
    assert bool(drawn & known) == (repeats == "offer")
    for row in evaluate_cold_start(dataset, {"popularity": scorer}, (0, 1, 3)):
        repeated = seen_before(dataset, row.table.users, "test")
        assert np.isinf(row.table.ranks).tolist() == [repeats == "hide" and bool(again) for again in repeated]


@pytest.mark.parametrize("repeats", SETTINGS)
def test_chance_is_the_mean_of_random_rankings(plays: FederatedDataset, repeats: Repeats) -> None:
    dataset = replace(plays, repeats=repeats)
    generator = np.random.default_rng(5)

    class Random:
        def score(self, users: IntArray, histories: Sequence[IntArray]) -> Scores:
            return generator.random((len(users), ITEMS + 1))

    drawn = [evaluate(dataset, Random(), "test").mean("HR@5") for _ in range(400)]
    assert chance(dataset, "test").mean("HR@5") == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 20)


def test_negatives_drawn_under_the_other_setting_are_refused(plays: FederatedDataset) -> None:
    negatives = StoredNegatives.draw(plays, "test", np.random.default_rng(0), count=8)
    with pytest.raises(DataError, match=r"drawn under data\.repeats = hide, and 'plays' is evaluated under offer"):
        sampled_evaluate(replace(plays, repeats="offer"), Popularity(plays), "test", negatives)


def test_without_repeats_the_setting_changes_no_candidate_but_the_seen() -> None:
    dataset = FederatedDataset.from_sequences([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5], [2, 4, 6, 8, 1]], 12)
    assert not np.isinf(evaluate(dataset, Popularity(dataset), "test").ranks).any()
