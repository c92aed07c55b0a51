"""The count sketch: linear to the last unit, and as near to the counts as its size promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from fedmem.config import TransitionsConfig
from fedmem.errors import ConfigError
from fedmem.memory.count_sketch import PairHashes, TransitionSketch, as_pairs, check_sketch, sketched, table_of
from fedmem.memory.transitions import TransitionCounts, TransitionTable
from tests.memory.test_transitions import ITEMS, histories, same

sizes = st.tuples(st.integers(1, 5), st.integers(4, 8))


@given(st.lists(histories, min_size=1, max_size=4), sizes, st.integers(1, 10))
def test_sums_of_sketches_are_sketches_of_sums_and_whoever_leaves_leaves_nothing(given_histories, size, window) -> None:
    config = TransitionsConfig(sketch_rows=size[0], sketch_bits=size[1])
    clients = [TransitionCounts.of([history], ITEMS, window) for history in given_histories]
    sketches = [sketched(one, config) for one in clients]
    total = sum(sketches[1:], start=sketches[0])
    assert same(total, sketched(TransitionCounts.of(given_histories, ITEMS, window), config))
    others = TransitionCounts.of([*given_histories[1:], given_histories[0][:0]], ITEMS, window)
    assert same(total - sketches[0], sketched(others, config))
    assert same(TransitionCounts.from_arrays(total.to_arrays()), total), "as written and read"


def test_cells_are_those_of_the_definition() -> None:
    counts, hashes = drawn_counts(20, 100, 3), PairHashes.drawn(3, 6)
    expected = np.zeros((3, 64), np.int64)
    for i, j in zip(*counts.pairs.nonzero(), strict=True):
        for row in range(3):
            place, sign = hashes.of(row, np.array([i]), np.array([j]))
            expected[row, place[0]] += sign[0] * counts.pairs[i, j]
    config = TransitionsConfig(sketch_bits=6)
    found = sketched(counts, config)
    np.testing.assert_array_equal(found.pairs.toarray(), expected)
    assert (found.pairs.data < 0).any()
    pairs = TransitionSketch.of(counts, hashes).decoded(config)
    assert same(as_pairs(found, config), pairs), "who has cells alone reads the same"


def drawn_counts(items: int, pairs: int, seed: int) -> TransitionCounts:
    """Few frequent pairs and many rare ones, as histories have them."""
    rng = np.random.default_rng(seed)
    source, target = rng.integers(1, items + 1, (2, pairs))
    counts = (2520 * rng.pareto(1.5, pairs)).astype(np.int64) + 252
    matrix = sparse.coo_array((counts, (source, target)), shape=(items + 1, items + 1)).tocsr()
    return TransitionCounts(matrix, np.concatenate([[0], rng.integers(1, 9, items)]))


@pytest.mark.parametrize("seed", range(3))
def test_estimates_err_as_chebyshev_allows_and_not_to_one_side(seed: int) -> None:
    """A row errs by more than t deviations for 1 / t² of the pairs at most, the median of five far more seldom."""
    counts = drawn_counts(80, 1_500, seed)
    everything = np.arange(1, 81)
    exact = counts.pairs.toarray()[1:, 1:]
    deviation = np.sqrt((exact.astype(float) ** 2).sum() / 2**9)
    for rows, rare in ((1, 1 / 9), (5, 10 * (1 / 9) ** 3)):
        sketch = TransitionSketch.of(counts, PairHashes.drawn(rows, 9, seed))
        errors = (sketch.estimates(everything[:, None], everything[None]) - exact) / deviation
        assert (np.abs(errors) > 3).mean() <= rare
        assert abs(np.sign(errors).mean()) < 0.2
    assert errors.std() < 1


def test_the_wider_the_nearer() -> None:
    counts = drawn_counts(80, 1_500, 7)
    config, everything = TransitionsConfig(), [np.array([item]) for item in range(1, 81)]
    exact = TransitionTable.of(counts, config).scores(everything)
    near = [
        np.corrcoef(
            exact.ravel(), table_of(counts, config.model_copy(update={"sketch_bits": bits})).scores(everything).ravel()
        )[0, 1]
        for bits in (8, 11, 14, 22)
    ]
    assert near == sorted(near)
    assert near[0] < 0.9 < near[2]
    assert near[-1] > 0.999


def test_rows_are_exact_without_a_sketch() -> None:
    counts, config = drawn_counts(20, 100, 1), TransitionsConfig()
    np.testing.assert_array_equal(table_of(counts, config).weights, TransitionTable.of(counts, config).weights)


def test_pairs_that_few_cells_hold_are_read_from_all_items_that_were_taken() -> None:
    pairs = sparse.coo_array(([2520, 5040], ([1, 2], [2, 7])), shape=(ITEMS + 1, ITEMS + 1)).tocsr()
    counts = TransitionCounts(pairs, np.array([0, 1, 3, 0, 0, 0, 0, 2]))
    config = TransitionsConfig(neighbours=2)
    found = TransitionSketch.of(counts, PairHashes.drawn(3, 12)).decoded(config)
    np.testing.assert_array_equal(found.pairs.toarray(), pairs.toarray())
    nothing = TransitionSketch.of(TransitionCounts.none(ITEMS), PairHashes.drawn(3, 12)).decoded(config)
    assert not nothing.pairs.nnz


def test_more_items_than_can_be_looked_up_are_refused_by_name() -> None:
    check_sketch(TransitionsConfig(sketch_bits=10), 20_000)
    check_sketch(TransitionsConfig(), 10**6)
    with pytest.raises(ConfigError, match=r"transitions\.sketch_bits = 10: all pairs of 20,001 items"):
        check_sketch(TransitionsConfig(sketch_bits=10), 20_001)


@pytest.mark.parametrize(("bits", "expected"), [(None, 4 * (ITEMS + 1) ** 2), (8, 4 * (3 * 256 + ITEMS + 1))])
def test_bytes_are_those_of_all_cells_whatever_is_in_them(bits: int | None, expected: int) -> None:
    config = TransitionsConfig(sketch_bits=bits)
    assert sketched(TransitionCounts.of([np.array([1, 2])], ITEMS, 10), config).num_bytes == expected
    assert sketched(TransitionCounts.none(ITEMS), config).num_bytes == 0
