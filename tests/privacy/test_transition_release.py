"""Users bounded, noise of the right size, and estimates that are nearer to the truth than what is noisy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmem.config import TransitionsConfig
from fedmem.memory.transitions import UNIT, TransitionCounts
from fedmem.privacy.transition_release import POPULARITY_SHARE, NoisySums, release

ITEMS = 40
histories = st.lists(st.integers(1, ITEMS), max_size=60).map(lambda items: np.array(items, np.int32))


def length(counts: np.ndarray) -> float:
    return float(np.linalg.norm(counts.astype(np.float64)))


@given(st.lists(histories, max_size=4), histories, st.integers(1, 12))
def test_a_user_changes_neither_sum_by_more_than_one(others: list, history: np.ndarray, window: int) -> None:
    without = TransitionCounts.of([np.zeros(0, np.int32), *others], ITEMS, window, bounded=True)
    changed = TransitionCounts.of([history, *others], ITEMS, window, bounded=True) - without
    assert length(changed.pairs.data) <= UNIT
    assert length(changed.taken) <= UNIT
    if len(np.unique(history)) > 1:
        assert length(changed.taken) > 0.9 * UNIT, "rounding takes little away"


def test_what_was_handed_on_adds_nothing_again() -> None:
    history = np.arange(1, 9)
    assert not TransitionCounts.of([history], ITEMS, 3, [8], bounded=True)
    assert TransitionCounts.of([history], ITEMS, 3, [0], bounded=True)


def drawn(users: int = 300) -> TransitionCounts:
    """Users who step on to the next item, or anywhere."""
    rng = np.random.default_rng(0)
    steps = np.where(rng.random((users, 12)) < 0.7, 1, rng.integers(0, ITEMS, (users, 12)))
    walks = (rng.integers(0, ITEMS, (users, 1)) + steps.cumsum(1)) % ITEMS + 1
    return TransitionCounts.of(list(walks), ITEMS, 2, bounded=True)


def noise(sums: NoisySums) -> np.ndarray:
    found = np.concatenate([sums.rows(block) for block in sums.blocks()])
    return (found - sums.counts.pairs[1:].toarray() / UNIT)[:, 1:]


def test_noise_is_gaussian_of_the_multiplier_for_both_sums_together() -> None:
    sums = NoisySums(drawn(), 1.5, 0)
    found = noise(sums) / (1.5 / (1 - POPULARITY_SHARE) ** 0.5)
    assert abs(found.mean()) < 4 / ITEMS
    assert abs(found.std() - 1) < 4 / (2**0.5 * ITEMS)
    assert abs((np.abs(found) < 1).mean() - 0.683) < 4 * 0.47 / ITEMS
    deviations = [(NoisySums(drawn(), 1e-3, seed).popularity - sums.counts.taken / UNIT)[1:] for seed in range(40)]
    assert abs(np.std(deviations) / (1e-3 / POPULARITY_SHARE**0.5) - 1) < 4 / (2 * 40 * ITEMS) ** 0.5


def test_noise_is_drawn_once_for_the_same_counts_and_anew_for_others() -> None:
    counts = drawn()
    first, again = noise(NoisySums(counts, 1, 0)), noise(NoisySums(counts, 1, 0))
    assert np.array_equal(first, again)
    for other in (NoisySums(counts, 1, 1), NoisySums(drawn(299), 1, 0)):
        assert abs(np.corrcoef(first.ravel(), noise(other).ravel())[0, 1]) < 4 / ITEMS


def test_estimates_are_nearer_to_the_truth_than_noisy_sums_and_texts_help() -> None:
    counts, config = drawn(), TransitionsConfig(neighbours=ITEMS)
    circle = 2 * np.pi * np.arange(ITEMS + 1) / ITEMS
    texts = np.stack([np.cos(circle), np.sin(circle)], 1).astype(np.float32)
    truth = counts.pairs.toarray()[1:, 1:] / UNIT

    def error(vectors: np.ndarray | None, seed: int) -> float:
        found = release(counts, vectors, config, 2.0, seed).pairs.toarray()[1:, 1:] / UNIT
        return float(((found - truth) ** 2).mean())

    noisy = np.mean([(noise(NoisySums(counts, 2.0, seed)) ** 2).mean() for seed in range(5)])
    plain, with_texts = (np.mean([error(texts if t else None, seed) for seed in range(5)]) for t in (False, True))
    assert plain < 0.5 * noisy
    assert with_texts < 0.9 * plain
