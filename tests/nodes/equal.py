"""When two runs count as equal."""

import numpy as np
import pytest

from fedmem.experiment import TrainingRun


def assert_equal_runs(simulated: TrainingRun, run: TrainingRun, apart: tuple[str, ...] = ("nodes",)) -> None:
    """Train both to their end and compare: parameters to 1e-6, transitions exactly, metrics to 1e-9.

    Metrics with one of ``apart`` in their names are not compared.
    """
    before, after = list(simulated.rounds()), list(run.rounds())
    expected, found = simulated.server.state, run.server.state
    for name, value in expected.parameters.items():
        np.testing.assert_allclose(found.parameters[name], value, atol=1e-6, rtol=0)
    assert (found.transitions.pairs != expected.transitions.pairs).nnz == 0
    assert expected.transitions.pairs.nnz
    np.testing.assert_array_equal(found.transitions.taken, expected.transitions.taken)
    for block, sums in expected.global_memory.sums.items():
        np.testing.assert_allclose(found.global_memory.sums[block], sums, atol=1e-4)
    for one, other in zip(before, after, strict=True):
        _assert_same_metrics(one, other, apart)
    expected, found = simulated.finish(), run.finish()
    assert (found.round, found.strength) == (expected.round, expected.strength)
    _assert_same_table(expected.table, found.table)


def _assert_same_metrics(one, other, apart: tuple[str, ...]) -> None:
    expected, told = (
        {name: value for name, value in each.metrics.items() if not any(part in name for part in apart)}
        for each in (one, other)
    )
    assert told.keys() == expected.keys()
    for name, value in expected.items():
        assert told[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert (one.validation is None) == (other.validation is None)
    if one.validation is not None:
        _assert_same_table(one.validation, other.validation)


def _assert_same_table(one, other) -> None:
    assert other.num_users == one.num_users
    for name, (mean, error) in one.values.items():
        assert other.values[name] == pytest.approx((mean, error), abs=1e-9), name
