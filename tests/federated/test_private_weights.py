"""Weights with a budget: what is clipped, what is noised, who is drawn; each by what theory says of fixed seeds."""

import numpy as np
import pytest

from fedmem.config_reader import validate_config
from fedmem.errors import ConfigError
from fedmem.federated.messages import ITEM_ROWS, ClientUpdate, UpdateSum
from fedmem.federated.postprocessing import Postprocessor
from fedmem.federated.private_weights import Clipped, Noised, length, protected
from fedmem.federated.round import broadcast_of, select_clients
from fedmem.federated.server import FedMemServer
from fedmem.federated.start import initial_state
from tests.tiny import population_of, tiny_config, tiny_snapshot, total

RNG = np.random.default_rng(0)
WITHOUT_PROTOTYPES = {"disable_moe": False, "disable_prototype_agg": True}
FULL = {"ablation": {"disable_moe": False}}
BOTH = {"weights_epsilon": 8, "prototypes_epsilon": 2}
PLAIN = {"server_optimizer": "none", "server_learning_rate": 1.0, "server_warmup_steps": 0}


def private(federated: dict | None = None, **privacy: float) -> dict:
    """Settings of a run whose weights are clipped."""
    return {"privacy": privacy, "federated": federated or {}, "ablation": WITHOUT_PROTOTYPES}


def server_of(**changes: dict) -> FedMemServer:
    snapshot = tiny_snapshot(tiny_config(**changes))
    population = population_of(snapshot)
    state = initial_state(snapshot.config, population.model, snapshot.features)
    return FedMemServer(snapshot.config, snapshot.dataset.trainable_users, population, state)


def test_a_client_is_clipped_to_the_norm_of_all_its_parameters_and_counts_once() -> None:
    update = ClientUpdate(7, {"a": np.full(9, 1.0, np.float32), "b": np.full((4, 4), 1.0, np.float32)})
    clipped = Clipped(2.5).postprocess_one_client(update, RNG)
    assert length(clipped.delta) == pytest.approx(2.5)
    assert np.allclose(clipped.delta["a"], 0.5)
    assert clipped.num_samples == 1
    shorter = Clipped(5.001).postprocess_one_client(update, RNG)
    assert all(np.array_equal(shorter.delta[name], value) for name, value in update.delta.items())
    nothing = ClientUpdate(1, {"a": np.zeros(3, np.float32)})
    assert not Clipped(1.0).postprocess_one_client(nothing, RNG).delta["a"].any()


def test_noise_is_normal_of_the_deviation_that_is_asked_for_on_all_but_padding() -> None:
    zeros = {ITEM_ROWS: np.zeros((201, 50), np.float32), "b": np.zeros(10_000, np.float32)}
    noised = Noised(3.0, 9.4).postprocess_sum(UpdateSum(zeros, 7.0, clients=7), np.random.default_rng(1))
    assert not noised.delta[ITEM_ROWS][0].any()
    for drawn in (noised.delta[ITEM_ROWS][1:].ravel() / 3, noised.delta["b"] / 3):
        many = len(drawn)  # five standard errors of mean, variance and fourth moment
        assert abs(drawn.mean()) < 5 / many**0.5
        assert abs(drawn.var() - 1) < 5 * (2 / many) ** 0.5
        assert abs((drawn**4).mean() - 3) < 5 * (96 / many) ** 0.5
    between = np.corrcoef(noised.delta[ITEM_ROWS][1:].ravel(), noised.delta["b"])[0, 1]
    assert abs(between) < 5 / 100


def test_the_sum_is_divided_by_the_expected_clients_and_the_drawn_number_is_not_told() -> None:
    sums = [UpdateSum({"a": np.full(3, 5.0)}, float(drawn), clients=drawn) for drawn in (3, 12)]
    first, second = (Noised(0.0, 9.4).postprocess_sum(one, RNG) for one in sums)
    assert first.mean_delta()["a"] == pytest.approx(5 / 9.4)
    assert (first.weight, first.clients) == (second.weight, second.clients) == (9.4, 9)


def test_cohorts_are_poisson_samples() -> None:
    config = tiny_config(**private({"client_fraction": 0.3}, weights_noise=1.0))
    users, rounds = np.arange(100), 400
    drawn = np.array([np.isin(users, select_clients(config, users, number)) for number in range(rounds)])
    chance = 0.3 * 0.7
    assert np.abs(drawn.mean(0) - 0.3).max() < 5 * (chance / rounds) ** 0.5, "each client"
    sizes = drawn.sum(1)  # a fixed size would have no variance, clients that are not independent another one
    assert abs(sizes.var() / (100 * chance) - 1) < 5 * (2 / rounds) ** 0.5
    pairs = np.corrcoef(drawn.T)[np.triu_indices(100, 1)]
    assert np.abs(pairs).max() < 6 / rounds**0.5, "any two clients"
    again = select_clients(config, users, 17)
    assert np.array_equal(again, users[drawn[17]]), "a function of seed and round"
    other = replace_seed(config)
    assert not np.array_equal(select_clients(other, users, 17), again)


def replace_seed(config):
    return config.model_copy(update={"seed": config.seed + 1})


def test_one_client_changes_the_sum_by_the_norm_at_most() -> None:
    server = server_of(**private(weights_noise=0, weights_clip=0.1))
    all_of_them = server.client_ids
    broadcast = broadcast_of(server.state)

    def summed(clients: np.ndarray) -> dict:
        return dict(total(server.population.train(clients, broadcast, (Clipped(0.1),))).delta)

    whole, without = summed(all_of_them), summed(all_of_them[1:])
    moved = length({name: value - without[name] for name, value in whole.items()})
    assert moved == pytest.approx(0.1, rel=1e-3), "every client of the tiny data is clipped"


def test_a_round_that_draws_no_client_is_noise_alone() -> None:
    server = server_of(**private({"client_fraction": 0.001, **PLAIN}, weights_noise=1.0, weights_clip=0.5))
    assert not len(server.select_clients())
    before = server.state.parameters
    report = server.run_round()
    assert server.state.round == 1
    assert "recommendation_loss" not in report.metrics
    expected = 0.001 * len(server.client_ids)
    moved = np.concatenate([(server.state.parameters[n] - p).ravel() for n, p in before.items()]) * expected / 0.5
    moved = moved[moved != 0]
    assert abs(moved.var() - 1) < 5 * (2 / len(moved)) ** 0.5 + 1e-3


def test_clipping_comes_last_on_a_client_and_noise_first_on_a_sum() -> None:
    given = (Postprocessor(), Postprocessor())
    config = tiny_config(**private({"client_fraction": 0.5}, weights_noise=2.0, weights_clip=0.5))
    first, *middle, last = protected(config, 12, given)
    assert tuple(middle) == given
    assert isinstance(last, Clipped)
    assert isinstance(first, Noised)
    assert (first.deviation, first.expected, last.norm) == (1.0, 6.0, 0.5)
    assert protected(tiny_config(), 12, given) is given


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ablation": {"disable_moe": False}}, "disable_prototype_agg"),
        ({"secure_sums": {"enabled": True}}, "secure_sums.enabled"),
        ({"federated": {"centralised_batch": 8}}, "centralised_batch = 8"),
        ({"federated": {"row_normalisation": True}}, "row_normalisation = true"),
        ({"privacy": {"weights_epsilon": 8, "weights_noise": 0}}, "weights_noise = 0"),
        ({"privacy": {"prototypes_epsilon": 2}, **FULL}, "without noise on the weights"),
        ({"privacy": {"prototypes_epsilon": 2, "weights_noise": 0}, **FULL}, "without noise on the weights"),
        ({"privacy": {"weights_epsilon": 8, "prototypes_noise": 0}, **FULL}, "prototypes_noise = 0, and weights"),
        ({"privacy": {**BOTH, "prototypes_noise": 0}, **FULL}, "prototypes_noise = 0 spends more"),
        ({"privacy": {**BOTH, "prototypes_noise": 0.001}, **FULL}, "prototypes_noise = 0.001"),
        ({"privacy": BOTH, "fedmem": {"prototype_aggregation": "recluster"}, **FULL}, "recluster"),
        ({"privacy": BOTH, "fedmem": {"prototype_weights": "samples"}, **FULL}, "prototype_weights = samples"),
        ({"privacy": {"weights_noise": 0.001}}, "weights_noise = 0.001"),
    ],
)
def test_what_would_make_the_budget_untrue_is_refused(changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        validate_config({"privacy": {"weights_epsilon": 8}, **changes}, "the test")


def test_noise_that_costs_more_than_the_budget_in_one_round_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"weights_noise = 0.5 spends epsilon .* in one round"):
        server_of(**private(weights_noise=0.5, weights_epsilon=1))
    dear = {"privacy": {"weights_epsilon": 8, "prototypes_epsilon": 1, "prototypes_noise": 0.5}}
    with pytest.raises(ConfigError, match=r"prototypes_noise = 0.5 spends epsilon .* in one round"):
        server_of(**dear)


def test_two_budgets_share_delta() -> None:
    def deltas(**privacy: float) -> float:
        return validate_config({"privacy": privacy}, "the test").delta_each

    assert deltas(weights_epsilon=8) == deltas(transitions_epsilon=2) == 1e-6
    assert deltas(weights_epsilon=8, transitions_epsilon=2) == 0.5e-6
    assert deltas(weights_noise=0, transitions_epsilon=2) == 1e-6
    assert deltas(**BOTH) == 1e-6
    assert deltas(**BOTH, transitions_epsilon=2) == 0.5e-6
    assert deltas(weights_epsilon=8, metrics_epsilon=2) == 0.5e-6
    assert deltas(**BOTH, transitions_epsilon=2, metrics_epsilon=2) == 1e-6 / 3
