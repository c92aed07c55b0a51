"""Runs with secure sums: their figures are those without, to fixed point; the server reads nothing but sums."""

import numpy as np
import pytest

from fedmem.federated.server import FedMemServer
from fedmem.federated.start import initial_state
from tests.tiny import population_of, tiny_config, tiny_snapshot

SECURE = {"enabled": True, "minimum_cohort": 4, "neighbours": 4}


def secure_config(**changes):
    return tiny_config(**{"secure_sums": SECURE, **changes})


def server_of(config):
    snapshot = tiny_snapshot(config)
    population = population_of(snapshot)
    state = initial_state(config, population.model, snapshot.features)
    return FedMemServer(config, snapshot.dataset.trainable_users, population, state)


def rounds_of(config, count=2):
    server = server_of(config)
    return server, [server.run_round() for _ in range(count)]


CONFIGURATIONS = {
    "FedSGD": {},
    "64 bits": {"secure_sums": {**SECURE, "bits": 64}},
    "several steps, rows that were touched": {
        "training": {"batch_size": 12, "learning_rate": 0.01, "loss": "bpr"},
        "federated": {"row_normalisation": True},
    },
    "sampled softmax": {"training": {"loss": "sampled_softmax"}},
}


# Adam would make much of the last bits of small gradients.
AVERAGED = {"server_optimizer": "none", "server_learning_rate": 0.5, "server_averaging": 0.0}


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_run_has_the_figures_of_one_without_to_fixed_point(changes):
    changes = {**changes, "federated": {**AVERAGED, **changes.get("federated", {})}}
    server, reports = rounds_of(secure_config(**changes))
    plain, expected = rounds_of(secure_config(**{**changes, "secure_sums": {"enabled": False}}))
    assert reports[0].metrics.pop("clipped_parameters") == 0
    for name, values in plain.state.parameters.items():
        np.testing.assert_allclose(server.state.parameters[name], values, atol=1e-4, err_msg=name)
    for name, value in expected[0].metrics.items():
        if "bytes" not in name:
            assert reports[0].metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    validation, without = reports[1].without_transitions, expected[1].without_transitions
    assert validation.num_users == without.num_users
    for name, (mean, error) in without.values.items():
        assert validation.values[name] == pytest.approx((mean, error), abs=1e-6), name


def test_transitions_are_those_of_the_plain_sum_to_the_last_count():
    server, _ = rounds_of(secure_config(), 6)
    plain, _ = rounds_of(tiny_config(), 6)
    before, after = plain.state.transitions, server.state.transitions
    everything = server.population.having_transitions(server.state.round)
    assert not len(everything)
    assert after.taken.sum() == server.population.dataset.training_lengths.sum()
    rest = plain.population.having_transitions(plain.state.round)
    missing = plain.population.host.chunk(rest, plain.state.round)
    if len(rest):
        before = before + missing.new_transitions(10)
    assert (before.pairs != after.pairs).nnz == 0
    assert np.array_equal(before.taken, after.taken)
