"""Metrics with a budget: none of training is sent, noise on evaluations is as large as it has to be, and is told."""

import numpy as np
import pytest

from fedmem.errors import ConfigError
from fedmem.evaluation.metric_table import MetricSums, metric_names
from fedmem.federated.messages import ClientUpdate
from fedmem.federated.private_metrics import NoisedMetrics
from fedmem.federated.sums import Mean
from fedmem.privacy.accountant import Accountant
from fedmem.privacy.metrics_budget import MetricsBudget
from tests.tiny import tiny_config

USERS = 400
RANKS = np.random.default_rng(0).integers(1, 30, USERS).astype(np.float64)
RNG = np.random.default_rng(1)


def private(**changes):
    return tiny_config(
        privacy={"weights_epsilon": 8, "metrics_epsilon": 2},
        ablation={"disable_moe": True, "disable_transitions": True},
        **changes,
    )


def test_nothing_that_was_measured_in_training_is_sent():
    update = ClientUpdate(3, {"w": np.ones(2)}, metrics={"loss": Mean(1.0, 3.0)})
    sent = NoisedMetrics(1.0).postprocess_one_client(update, RNG)
    assert (sent.metrics, sent.num_samples) == ({}, 3)
    assert sent.delta is update.delta


def test_noise_has_the_deviation_asked_for_on_every_sum_and_is_in_the_standard_error():
    exact = MetricSums(MetricSums.of(RANKS).moments, {0.5: MetricSums.of(RANKS)})
    drawn = [NoisedMetrics(8.0).postprocess_metrics(exact, RNG) for _ in range(300)]
    for found in (lambda sums: sums.moments, lambda sums: sums.fused[0.5].moments):
        for name, moments in found(exact).items():
            totals = np.array([found(sums)[name].total for sums in drawn])
            assert abs(totals.mean() - moments.total) < 5 * 8 / np.sqrt(300)
            assert totals.std() == pytest.approx(8.0, rel=0.25)
            errors = np.array([found(sums)[name].standard_error for sums in drawn])
            assert errors.mean() > np.hypot(moments.standard_error, 8.0 / USERS) * 0.99
    first, second = (drawn[0].moments[name].total - exact.moments[name].total for name in ("HR@10", "NDCG@10"))
    assert first != second


def test_a_sum_stays_between_none_and_all_and_tells_how_many_users():
    for moments in NoisedMetrics(1e6).postprocess_metrics(MetricSums.of(RANKS), RNG).moments.values():
        assert moments.total in (0.0, USERS)
        assert moments.count == USERS


def test_all_evaluations_of_the_planned_rounds_and_the_test_spend_the_budget_and_no_more():
    budget = MetricsBudget.of(private(federated={"num_rounds": 20}, evaluation={"eval_every": 5}))
    assert budget is not None
    assert budget.spent(20) == pytest.approx(2, rel=1e-3)
    assert budget.spent(20) <= 2
    multiplier = budget.noise / np.sqrt(budget.figures)
    assert budget.spent(4) == Accountant(multiplier, 1.0, budget.delta).epsilon(1)
    assert budget.spent(12) == Accountant(multiplier, 1.0, budget.delta).epsilon(3)
    assert MetricsBudget.of(tiny_config()) is None


@pytest.mark.parametrize("metrics", [("HR",), ("HR", "NDCG", "MRR")])
def test_a_user_has_a_part_in_as_many_figures_as_are_sent(metrics):
    asked = {"evaluation": {"metrics": metrics, "k_list": (5, 10)}, "transitions": {"strengths": [0, 0.1, 0.5]}}
    each = len(metric_names((5, 10), metrics))
    assert MetricsBudget.of(private(**asked)).figures == each
    epsilons = {"weights_epsilon": 8, "metrics_epsilon": 2, "transitions_epsilon": 2}
    with_transitions = tiny_config(
        **asked, privacy=epsilons, ablation={"disable_moe": True}, federated={"num_rounds": 20}
    )
    assert MetricsBudget.of(with_transitions).figures == 3 * each


def test_metrics_alone_have_no_budget():
    with pytest.raises(ConfigError, match=r"privacy.metrics_epsilon without noise on the weights, which tell more"):
        tiny_config(privacy={"metrics_epsilon": 2})
