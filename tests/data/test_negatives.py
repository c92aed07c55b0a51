"""Negatives exclude the training history, all of it and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.data.negatives import sample_negatives
from fedmem.errors import DataError


def as_history(items):
    return np.array(items, dtype=np.int32)


@given(st.integers(2, 30), st.data())
def test_exactly_the_rest_of_the_catalogue_is_drawn(num_items, data):
    history = data.draw(st.lists(st.integers(1, num_items), max_size=20))
    allowed = set(range(1, num_items + 1)) - set(history)
    if not allowed:
        return
    drawn = sample_negatives(as_history(history), num_items, 60 * num_items, np.random.default_rng(0))
    assert drawn.dtype == np.int32
    assert set(drawn.tolist()) == allowed


def test_the_draw_is_uniform():
    drawn = sample_negatives(as_history([1, 4, 4, 5, 10]), 10, 60_000, np.random.default_rng(1))
    counts = np.bincount(drawn, minlength=11)
    expected = np.array([0, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0]) * 10_000
    # Six standard deviations of a binomial count around 10,000 are 550.
    assert np.abs(counts - expected).max() < 550


def test_an_empty_history_excludes_nothing():
    assert set(sample_negatives(as_history([]), 3, 200, np.random.default_rng(0)).tolist()) == {1, 2, 3}


def test_the_generator_alone_decides():
    draws = [sample_negatives(as_history([2]), 100, 50, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert draws[0].tolist() == draws[1].tolist()
    assert draws[0].tolist() != draws[2].tolist()


def test_a_history_of_the_whole_catalogue_is_refused():
    with pytest.raises(DataError, match="covers all 3 items"):
        sample_negatives(as_history([1, 2, 3, 1]), 3, 1, np.random.default_rng(0))
