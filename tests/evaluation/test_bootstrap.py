"""The paired bootstrap finds what is there, and finds nothing where there is nothing."""

import numpy as np
import pytest

from fedmem.errors import DataError
from fedmem.evaluation.bootstrap import bootstrap, paired_differences
from fedmem.evaluation.metric_table import MetricTable


def table(ranks: list[float], users: list[int] | None = None) -> MetricTable:
    chosen = np.arange(len(ranks)) if users is None else np.array(users)
    return MetricTable({}, len(ranks), chosen, np.array(ranks, dtype=float))


def drawn(*differences: np.ndarray, draws: int = 2000):
    return bootstrap(differences, np.random.default_rng(1), draws)


def test_the_interval_of_one_seed_is_that_of_the_standard_error():
    values = np.random.default_rng(0).normal(0.1, 1.0, (1, 400))
    (found,) = drawn(values, draws=10_000)
    error = values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.05 * error + 0.005
    )


def test_a_clear_advantage_is_one_and_none_is_none():
    noise = np.random.default_rng(0).normal(0, 1, (3, 300))
    clear, none = drawn(noise + 0.5, noise - noise.mean())
    assert clear.p < 0.01 < 0.5 < none.p
    assert clear.low > 0 > none.low


def test_users_are_not_counted_once_per_seed():
    """The same users three times over say no more than once."""
    values = np.random.default_rng(0).normal(0.1, 1.0, (1, 200))
    once, thrice = drawn(values)[0], drawn(np.repeat(values, 3, axis=0))[0]
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.1)


def test_seeds_that_disagree_widen_the_interval():
    values = np.random.default_rng(0).normal(0, 0.1, (3, 200))
    agree, disagree = drawn(values, values + np.array([[-1.0], [0.0], [1.0]]))
    assert disagree.high - disagree.low > 5 * (agree.high - agree.low)


def test_no_difference_has_no_p_below_one():
    (found,) = drawn(np.zeros((2, 10)))
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_users_are_paired_and_those_whom_a_seed_lacks_are_left_out():
    first = [table([1, 11], [0, 1]), table([1, 1], [1, 2])]
    second = [table([11, 1], [0, 1]), table([1, 11], [1, 2])]
    found = paired_differences(first, second, "HR@10")
    assert np.array_equal(found, [[1, -1, np.nan], [np.nan, 0, 1]], equal_nan=True)
    assert drawn(found)[0].mean == pytest.approx(1 / 4)


def test_a_baseline_stands_beside_every_seed():
    assert paired_differences([table([1]), table([11])], [table([1])], "HR@10").tolist() == [[0], [-1]]


def test_other_users_are_refused():
    with pytest.raises(DataError, match="the same users"):
        paired_differences([table([1, 1], [0, 1])], [table([1, 1], [0, 2])], "HR@10")
    with pytest.raises(DataError, match="the ranks"):
        paired_differences([table([])], [table([])], "HR@10")
