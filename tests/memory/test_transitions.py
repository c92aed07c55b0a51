"""The transition memory against loops over pairs: counts, sums, subtraction, the rows that are kept, reading."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.config import TransitionsConfig
from fedmem.memory import transitions
from fedmem.memory.transitions import UNIT, RememberedScores, TransitionCounts, TransitionTable
from tests.reference.transitions import pairs_of, slow_counts

ITEMS = 7
histories = st.lists(st.integers(1, ITEMS), max_size=12).map(lambda items: np.array(items, np.int32))


def same(a: TransitionCounts, b: TransitionCounts) -> bool:
    return not (a.pairs != b.pairs).nnz and np.array_equal(a.taken, b.taken)


@given(st.lists(histories, max_size=4), st.integers(1, 10), st.data())
def test_counts_are_the_formulas_in_any_order_and_in_any_parts(given_histories, window, data) -> None:
    since = [data.draw(st.integers(0, len(history))) for history in given_histories]
    expected = TransitionCounts.none(ITEMS)
    for history in given_histories:
        expected = slow_counts(history.tolist(), ITEMS, window) + expected
    early = TransitionCounts.of([h[:n] for h, n in zip(given_histories, since, strict=True)], ITEMS, window)
    late = TransitionCounts.of(given_histories, ITEMS, window, since)
    assert same(TransitionCounts.of(given_histories, ITEMS, window), expected)
    assert same(late + early, expected)
    assert same(expected - late, early)
    assert same(expected - early - late, TransitionCounts.none(ITEMS))


def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    mine, others = np.array([1, 2, 3]), np.array([3, 2, 1])
    left = TransitionCounts.of([mine, others], ITEMS, 10) - TransitionCounts.of([mine], ITEMS, 10)
    assert same(left, TransitionCounts.of([others], ITEMS, 10))
    assert left.pairs.nnz == 3
    assert left
    assert not TransitionCounts.of([mine], ITEMS, 10) - TransitionCounts.of([mine], ITEMS, 10)


@given(st.lists(histories, min_size=1, max_size=4))
def test_arrays_hold_all_of_it(given_histories) -> None:
    counts = TransitionCounts.of(given_histories, ITEMS, 10)
    assert same(TransitionCounts.from_arrays(counts.to_arrays()), counts)
    large = TransitionCounts(counts.pairs * 2**40, counts.taken)
    assert same(TransitionCounts.from_arrays(large.to_arrays()), large)


@given(st.lists(histories, min_size=1, max_size=5), histories.filter(len), st.integers(1, ITEMS + 2))
def test_a_history_reads_the_rows_of_its_latest_items(given_histories, history, neighbours) -> None:
    config = TransitionsConfig(neighbours=neighbours, items_read=3, recency_power=0.5)
    counts = TransitionCounts.of(given_histories, ITEMS, config.window)
    table = TransitionTable.of(counts, config)
    expected = slow_scores(given_histories, history, config)
    np.testing.assert_allclose(table.scores([history])[0], expected, rtol=1e-5, atol=1e-6)
    read = table.read(history)
    assert np.all(np.diff(read.named()) > 0)
    assert read.largest == pytest.approx(expected.max(), rel=1e-5)
    found = np.arange(1, ITEMS + 1)
    np.testing.assert_array_equal(read.of(found), table.scores([history])[0, 1:])
    latest, parts = table.reasons(history, found)
    assert latest.tolist() == history[::-1][:3].tolist()
    np.testing.assert_allclose(parts.sum(0), expected[1:], rtol=1e-5, atol=1e-6)


def slow_scores(given_histories, history, config: TransitionsConfig) -> np.ndarray:
    counts = sum((pairs_of(h.tolist(), config.window) for h in given_histories), start=pairs_of([], 1))
    taken = np.maximum(np.bincount(np.concatenate(given_histories), minlength=ITEMS + 1), 1)
    scores = np.zeros(ITEMS + 1)
    for age, item in enumerate(history[::-1][: config.items_read].tolist()):
        row = {j: float(c) / (taken[i] ** config.source_power * taken[j] ** config.target_power)
               for (i, j), c in counts.items() if i == item}  # fmt: skip
        for j in sorted(row, key=lambda j: (-row[j], j))[: config.neighbours]:
            scores[j] += row[j] * (1 + age) ** -config.recency_power
    spread = np.std(scores[1:])
    return scores / spread if spread > 1e-12 else scores


def test_a_unit_is_divided_by_every_distance_within_the_default_window() -> None:
    assert all(UNIT % distance == 0 for distance in range(1, TransitionsConfig().window + 1))


def test_equal_weights_are_cut_by_item_index() -> None:
    counts = TransitionCounts.of([np.array([7, item]) for item in (5, 2, 4, 3)], ITEMS, 1)
    table = TransitionTable.of(counts, TransitionsConfig(neighbours=2))
    assert table.items[7].tolist() == [2, 3]


def test_nothing_is_read_from_nothing() -> None:
    table = TransitionTable.of(TransitionCounts.none(ITEMS), TransitionsConfig())
    assert len(table.read(np.array([1, 2])).named()) == 0
    assert table.num_bytes == 0


def test_what_nothing_follows_says_nothing() -> None:
    table = TransitionTable.of(TransitionCounts.of([np.array([1, 2])], ITEMS, 1), TransitionsConfig())
    assert len(table.read(np.array([3])).named()) == 0


def test_without_a_history_popularity_speaks() -> None:
    table = TransitionTable.of(TransitionCounts.of([np.array([1, 2, 2])], ITEMS, 1), TransitionsConfig())
    read = table.read(np.zeros(0, np.int32))
    assert read.named().tolist() == [1, 2]
    assert read.of(np.array([1, 2])).tolist() == pytest.approx([np.log(2), np.log(3)])
    assert read.of(np.array([2, 7])).tolist() == pytest.approx([np.log(3), 0])


@given(st.lists(st.floats(0, 5, width=32), min_size=2, max_size=12), st.floats(0.1, 2))
def test_of_a_large_catalogue_only_the_items_with_a_score_are_kept(values: list[float], strength: float) -> None:
    scores = np.array([0, *values])
    whole = RememberedScores.of_all(scores).times(strength)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transitions, "SMALL_CATALOGUE", 0)
        some = RememberedScores.of_all(scores).times(strength)
    assert some.items is not None
    assert some.named().tolist() == whole.named().tolist()
    assert some.largest == whole.largest
    wanted = np.arange(len(scores) + 3)  # newer items too
    np.testing.assert_array_equal(some.of(wanted), whole.of(wanted))
    sums = np.ones((2, len(wanted)), np.float32)
    some.add_to(sums[0])
    whole.add_to(sums[1])
    np.testing.assert_array_equal(*sums)
