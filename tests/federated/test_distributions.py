"""Counts by bin, the quantiles read off them, and what a round reports of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.federated.distributions import QUANTILES, SURPRISE, Distribution
from fedmem.federated.server import FedMemServer
from fedmem.federated.start import initial_state
from tests.reference.population import SlowPopulation
from tests.tiny import population_of, tiny_config, tiny_snapshot

LOSS = Distribution(width=0.5, bins=5, together=2)


def test_each_value_has_one_bin_and_the_last_is_open():
    assert LOSS.counts(np.array([0.0, 0.49, 0.5, 1.99, 2.0, 1e9])).by_bin.tolist() == [2, 1, 0, 1, 2]


@given(st.lists(st.floats(0, 3.999), min_size=1, max_size=300))
def test_quantiles_are_within_a_bin_of_the_true_ones(values):
    found = SURPRISE.counts(np.array(values)).quantiles("surprise")
    for q in QUANTILES:
        low, high = (np.quantile(values, q / 100, method=m) for m in ("lower", "higher"))
        assert low - SURPRISE.width <= found[f"surprise_p{q:02d}"] <= high + SURPRISE.width


def test_quantiles_of_sums_are_those_of_everything_counted():
    first, second = np.array([0.1, 0.2]), np.array([1.1, 1.6, 1.7])
    summed = LOSS.counts(first) + LOSS.counts(second)
    assert summed.quantiles("loss") == LOSS.counts(np.concatenate([first, second])).quantiles("loss")


def test_shares_add_neighbouring_bins_and_sum_to_one():
    assert LOSS.counts(np.array([0.1, 0.7, 1.2, 9.0])).shares("loss") == {
        "loss_share_00": 0.5,
        "loss_share_01": 0.25,
        "loss_share_02": 0.25,
    }


def test_a_histogram_that_is_not_wanted_is_not_reported():
    assert not [name for name in Distribution(0.5, 5).counts(np.ones(3)).report("loss") if "share" in name]


def test_nothing_counted_reports_nothing():
    assert LOSS.counts(np.zeros(0)).report("loss") == {}


@pytest.mark.parametrize("clients", [population_of, SlowPopulation], ids=["chunked", "one at a time"])
def test_a_round_reports_losses_surprises_and_gates(clients):
    config = tiny_config()
    snapshot = tiny_snapshot(config)
    population = clients(snapshot)
    state = initial_state(config, population.model, snapshot.features)
    server = FedMemServer(config, snapshot.dataset.trainable_users, population, state)
    report = server.run_round()
    metrics = report.metrics
    assert metrics["client_loss_p05"] <= metrics["client_loss_p50"] <= metrics["client_loss_p95"]
    assert metrics["surprise_p05"] <= metrics["surprise_mean"] <= metrics["surprise_p95"]
    gates = [metrics[f"gate_{name}"] for name in ("text", "visual", "sequential")]
    assert sum(gates) == pytest.approx(1)
    assert 0 < metrics["gate_entropy"] <= np.log(3) + 1e-9
    assert sum(value for name, value in metrics.items() if name.startswith("surprise_share")) == pytest.approx(1)
    assert not [name for name in metrics if "[" in name]
    assert {"train", "aggregate"} <= report.seconds.keys()
    assert all(value >= 0 for value in report.seconds.values())


def test_balance_keeps_all_experts_in_use():
    def unevenness(balance):
        snapshot = tiny_snapshot(tiny_config(model={"moe_balance": balance}))
        population = population_of(snapshot)
        state = initial_state(snapshot.config, population.model, snapshot.features)
        server = FedMemServer(snapshot.config, snapshot.dataset.trainable_users, population, state)
        reports = [server.run_round() for _ in range(6)]
        return np.log(3) - reports[-1].metrics["gate_entropy"]

    assert unevenness(2.0) < 0.5 * unevenness(0.0)
