"""Fixed point: what is lost by rounding, what by clipping, and that sums never run over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.errors import ConfigError, TrainingError
from fedmem.secure_sums.fixed_point import FixedPoint

CLIPS = st.floats(1e-3, 1e3)


@given(st.sampled_from([32, 64]), CLIPS, st.integers(1, 700), st.floats(-2000, 2000))
def test_the_greatest_sum_does_not_run_over_and_a_number_is_off_by_half_a_step(bits, clip, clients, value):
    point = FixedPoint(bits, clip, clients)
    words, clipped = point.encode(np.array([value, clip, -clip]))
    total = words * words.dtype.type(clients)
    expected = clients * np.clip([value, clip, -clip], -clip, clip)
    np.testing.assert_allclose(point.decode(total), expected, rtol=1e-12, atol=clients * point.step)
    assert clipped == (abs(value) > clip)
    assert 2 * clients * clip / point.step <= 2.0**bits


@given(CLIPS, st.integers(1, 700), st.lists(st.floats(-1, 1, width=32), max_size=8))
def test_single_precision_is_written_as_the_same_numbers_in_double_are(clip, clients, shares):
    point = FixedPoint(32, clip, clients)
    values = np.array([*shares, 1.0, -1.0], np.float32) * np.float32(clip)
    single, double = (point.encode(values.astype(dtype))[0] for dtype in (np.float32, np.float64))
    assert single.tolist() == double.tolist()


def test_words_of_one_client_are_within_half_a_step():
    point = FixedPoint(32, 1.0, 3)
    values = np.linspace(-1, 1, 1001)
    assert np.abs(point.decode(point.encode(values)[0]) - values).max() <= point.step / 2


def test_clipped_numbers_are_counted():
    words, clipped = FixedPoint(32, 2.0, 10).encode(np.array([5.0, -2.5, 1.0]))
    assert clipped == 2
    np.testing.assert_allclose(FixedPoint(32, 2.0, 10).decode(words), [2, -2, 1])


def test_too_wide_a_range_is_one_error_that_names_the_remedy():
    with pytest.raises(ConfigError, match=r"secure_sums.clip = 1e\+06 leaves 1 of 32 bits .* secure_sums.bits to 64"):
        FixedPoint(32, 1e6, 1000)
    FixedPoint(64, 1e6, 1000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_sent(bad):
    with pytest.raises(TrainingError, match="not finite"):
        FixedPoint(32, 1.0, 10).encode(np.array([0.0, bad]))
