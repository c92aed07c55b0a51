"""Sums of what clients measure: added over steps and clients they report what all together would."""

import numpy as np
import pytest

from fedmem.federated.sums import Mean, Total
from fedmem.federated.training_metrics import Step, added, client_metrics, memory_metrics, step_metrics

FIRST = Step(np.array([6.0, 2.0]), 1.0, 4.0, {"text": 1.0, "entropy": 2.0}, np.array([0.1, 0.3, 0.6, 1.4]), 3, 1)
SECOND = Step(np.array([1.0]), 0.5, 1.0, {"text": 0.5, "entropy": 1.0}, np.array([0.6]), 1, 0)


def reported(metrics) -> dict[str, float]:
    return {name: value for key, found in metrics.items() for name, value in found.report(key).items()}


def test_a_mean_adds_what_it_is_divided_by():
    assert (Mean(3.0, 2.0) + Mean(1.0, 6.0)).value == 0.5
    assert Mean(3.0, 2.0).report("loss") == {"loss": 1.5}


def test_a_total_is_reported_as_it_adds_up():
    assert (Total(3.0) + Total(4.0)).report("written") == {"written": 7.0}


def test_steps_report_means_over_positions_and_totals():
    found = reported(added(step_metrics(FIRST), step_metrics(SECOND)))
    assert found["recommendation_loss"] == pytest.approx(9 / 5)
    assert found["contrastive_loss"] == pytest.approx(1.5 / 5)
    assert (found["gate_text"], found["gate_entropy"]) == pytest.approx((1.5 / 5, 3 / 5))
    assert found["surprise_mean"] == pytest.approx(3 / 5)
    assert (found["memory_updates"], found["memory_evictions"]) == (4, 1)
    assert found["memory_written_fraction"] == pytest.approx(4 / 5)
    assert found["surprise_share_02"] == pytest.approx(2 / 5)  # from 0.5 to 0.75 nats


def test_without_memories_there_is_no_word_of_them():
    found = reported(step_metrics(Step(np.array([6.0]), 1.0, 4.0, {})))
    assert found == {"recommendation_loss": 1.5, "contrastive_loss": 0.25}


def test_what_one_side_has_not_measured_is_the_others():
    assert added({"a": Total(1.0)}, {"a": Total(2.0), "b": Total(3.0)}) == {"a": Total(3.0), "b": Total(3.0)}


def test_clients_weigh_the_same_whatever_their_positions():
    found = reported(added(client_metrics(np.array([1.0, 2.0])), client_metrics(np.array([3.0]))))
    assert found["client_loss_p50"] == pytest.approx(2.05)
    both = added(memory_metrics(np.array([2, 4])), memory_metrics(np.array([9])))
    assert reported(both) == {"memory_occupancy_mean": 5.0}
