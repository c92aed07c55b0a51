"""The utility of an entry against the formula, and what follows from it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.memory.utility import utility

ages = st.integers(0, 5000)
frequencies = st.integers(1, 10**6)
weights = st.floats(0, 5)
times = st.floats(0.1, 1e4)


@given(ages, frequencies, weights, weights, times)
def test_the_formula(age: int, frequency: int, alpha: float, beta: float, tau: float) -> None:
    expected = alpha * math.exp(-age / tau) + beta * math.log(1 + frequency) / math.log(1 + frequency + 10)
    found = utility(age, frequency, recency_weight=alpha, frequency_weight=beta, decay_time=tau)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_by_hand_with_the_defaults() -> None:
    assert float(utility(0, 1)) == pytest.approx(0.6 + 0.4 * math.log(2) / math.log(12))
    assert float(utility(50, 9)) == pytest.approx(0.6 / math.e + 0.4 * math.log(10) / math.log(20))


def test_decay_time_is_an_e_folding_time() -> None:
    old, new = utility([30, 0], [1, 1], recency_weight=1, frequency_weight=0, decay_time=30)
    assert old / new == pytest.approx(1 / math.e)


@given(ages, frequencies)
def test_bounded_and_monotone(age: int, frequency: int) -> None:
    worth = float(utility(age, frequency))
    assert 0 < worth < 1
    assert float(utility(age + 1, frequency)) <= worth
    assert float(utility(age, frequency + 1)) > worth


def test_entry_by_entry() -> None:
    age, frequency = np.array([0, 3, 70], np.int32), np.array([1, 5, 2], np.int32)
    one_by_one = [float(utility(a, f)) for a, f in zip(age, frequency, strict=True)]
    np.testing.assert_array_equal(utility(age, frequency), one_by_one)
