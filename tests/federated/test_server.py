"""FedMemServer: selection, evaluation, early stopping, and that it sees no client's data."""

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import pytest

from fedmem.evaluation.metric_table import MetricSums, Moments
from fedmem.federated.messages import UpdateSum
from fedmem.federated.server import FedMemServer
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.federated.start import initial_state
from fedmem.federated.state import ServerState
from fedmem.federated.sums import Mean, Total
from tests.tiny import population_of, tiny_config, tiny_snapshot

METRICS = {"recommendation_loss": Mean(3.0, 2.0), "memory_updates": Total(1.0)}


class ScriptedPopulation:
    """Clients that send a delta of one each and whose validation hits follow a script."""

    def __init__(self, script: Iterable[float] = ()) -> None:
        self.script = iter(script)
        self.trained: list[list[int]] = []
        self.evaluated: list[tuple[int, str]] = []

    def train(self, clients, broadcast, postprocessors=(), session=None):
        self.trained.append(clients.tolist())
        yield from (UpdateSum({"w": np.ones(1)}, 1.0, metrics=METRICS) for _ in clients)

    def evaluate(self, broadcast, split, session=None):
        self.evaluated.append((broadcast.round, split))
        hits = next(self.script)
        yield MetricSums(dict.fromkeys(("HR@10", "NDCG@10"), Moments(hits * 100, hits * 100, 100)))


def server_of(population, clients: int = 20, **federated) -> FedMemServer:
    config = tiny_config(federated=federated, ablation={"disable_memory": True})
    start = {"w": np.zeros(1)}
    state = ServerState(0, start, start, OptimizerState.zeros(start))
    return FedMemServer(config, np.arange(clients), population, state)


def run(server: FedMemServer) -> list:
    reports = []
    while not server.finished:
        reports.append(server.run_round())
    return reports


def cohort(seed: int, round_number: int, fraction: float = 0.3, clients: int = 20) -> list[int]:
    server = server_of(ScriptedPopulation(), clients, client_fraction=fraction)
    server.config = server.config.model_copy(update={"seed": seed})
    server.state = replace(server.state, round=round_number)
    return server.select_clients().tolist()


def test_the_cohort_is_a_function_of_seed_and_round():
    assert cohort(1, 5) == cohort(1, 5)
    assert cohort(1, 5) != cohort(1, 6)
    assert cohort(1, 5) != cohort(2, 5)


@pytest.mark.parametrize(("fraction", "size"), [(0.3, 6), (1.0, 20), (0.001, 1), (0.12, 2)])
def test_the_cohort_is_a_fraction_of_the_clients_and_never_empty(fraction, size):
    chosen = cohort(1, 0, fraction)
    assert len(set(chosen)) == len(chosen) == size
    assert set(chosen) <= set(range(20))


def test_all_clients_are_selected_in_time():
    assert set().union(*(cohort(1, number) for number in range(40))) == set(range(20))


def test_validation_every_so_often_whatever_the_last_round():
    population = ScriptedPopulation([0.1, 0.2, 0.3])
    reports = run(server_of(population, num_rounds=5))
    assert [round_number for round_number, _ in population.evaluated] == [2, 4]
    assert {split for _, split in population.evaluated} == {"validation"}
    assert [report.validation is not None for report in reports] == [False, True, False, True, False]


def test_training_stops_when_validation_stays_below_the_best():
    server = server_of(ScriptedPopulation([0.1, 0.3, 0.2, 0.3, 0.2, 0.9]), num_rounds=100, patience=3)
    reports = run(server)
    assert len(reports) == 10  # best at round 4, then three evaluations without a better one: an equal one is none
    assert (server.state.best_round, server.state.best_metric, server.state.stale) == (4, 0.3, 3)
    assert [report.round for report in reports if report.is_best] == [2, 4]


def test_a_better_validation_starts_the_count_anew():
    server = server_of(ScriptedPopulation([0.3, 0.2, 0.4, 0.1, 0.1]), num_rounds=100, patience=2)
    run(server)
    assert (server.state.round, server.state.best_round) == (10, 6)


def test_the_first_validation_is_the_best_even_without_a_hit():
    server = server_of(ScriptedPopulation([0.0, 0.0]), num_rounds=4)
    run(server)
    assert server.state.best_round == 2


@pytest.mark.parametrize(("batch", "steps"), [(None, 1), (3, 2), (2, 3), (6, 1), (4, 2)])
def test_pooled_training_takes_a_step_a_batch(batch, steps):
    population = ScriptedPopulation()
    server = server_of(population, client_fraction=0.3, centralised_batch=batch)
    selected = server.select_clients().tolist()
    report = server.run_round()
    assert len(population.trained) == steps == server.state.optimizer.step
    assert [user for group in population.trained for user in group] == selected
    assert report.metrics["clients"] == 6
    assert server.state.round == 1


def test_pooled_training_takes_no_step_on_what_is_left_over():
    population = ScriptedPopulation()
    server_of(population, client_fraction=0.35, centralised_batch=3).run_round()
    assert sorted(map(len, population.trained)) == [3, 4]


def test_metrics_are_means_over_what_they_weigh_by_and_totals():
    report = server_of(ScriptedPopulation(), client_fraction=0.3).run_round()
    assert report.metrics["recommendation_loss"] == 1.5
    assert report.metrics["memory_updates"] == 6.0


# With real clients


def server_of_clients() -> FedMemServer:
    snapshot = tiny_snapshot()
    population = population_of(snapshot)
    state = initial_state(snapshot.config, population.model, snapshot.features)
    return FedMemServer(snapshot.config, snapshot.dataset.trainable_users, population, state)


@pytest.fixture
def server():
    return server_of_clients()


def test_the_steps_of_the_original_one_after_the_other_are_a_round(server):
    whole = server_of_clients()
    whole.run_round()
    broadcast = server.distribute_model()
    assert server.distribute_global_abstract_memory() is broadcast.global_memory is not None
    total = reduce(add, server.population.train(server.select_clients(), broadcast))
    server.update_global_model(server.aggregate_parameters(total), server.aggregate_prototypes(total))
    for name, values in whole.state.parameters.items():
        np.testing.assert_allclose(server.state.parameters[name], values, rtol=1e-6, atol=1e-9, err_msg=name)
    for name, values in whole.state.global_memory.to_arrays().items():
        np.testing.assert_allclose(server.state.global_memory.to_arrays()[name], values, rtol=1e-6, err_msg=name)


def test_bytes_are_those_of_the_messages(server):
    sizes = server.distribute_model().num_bytes()
    metrics = server.run_round().metrics
    for direction in ("down", "up"):
        assert metrics[f"bytes_{direction}_weights"] == sizes["weights"] > 4 * 31 * 8
        assert metrics[f"bytes_{direction}_prototypes"] == sizes["prototypes"] > 4 * 3 * (7 + 5 + 8)


def test_clients_report_sums_and_no_ranks(server):
    (sums,) = server.population.evaluate(server.distribute_model(), "validation")
    assert type(sums) is MetricSums
    assert sums.count == 12
    table = server.evaluate_global_model("validation")
    assert len(table.ranks) == len(table.users) == 0


def test_the_averaged_model_is_evaluated(server):
    server.run_round()
    zero = {name: np.zeros_like(value) for name, value in server.state.parameters.items()}
    found = server.evaluate_global_model("validation").values
    server.state = replace(server.state, parameters=zero)
    assert server.evaluate_global_model("validation").values == found
    server.state = replace(server.state, averaged=zero)
    assert server.evaluate_global_model("validation").values != found


def test_prototype_measures_are_reported(server):
    for _ in range(3):
        metrics = server.run_round().metrics
    assert -1 <= metrics["prototype_collapse"] <= 1
    assert metrics["prototype_drift"] > 0
    assert {name for name in metrics if name.startswith("prototype_mass")} == {f"prototype_mass_{k}" for k in range(3)}
    assert metrics["memory_occupancy_mean"] > 0


def test_prototypes_off_means_none_is_sent():
    snapshot = tiny_snapshot(tiny_config(ablation={"disable_prototype_agg": True}))
    population = population_of(snapshot)
    state = initial_state(snapshot.config, population.model, snapshot.features)
    server = FedMemServer(snapshot.config, snapshot.dataset.trainable_users, population, state)
    metrics = server.run_round().metrics
    assert server.distribute_model().global_memory is None
    assert metrics["bytes_up_prototypes"] == 0
    assert "prototype_collapse" not in metrics


def test_the_original_calls_validation_val():
    population = ScriptedPopulation([0.1])
    server_of(population).evaluate_global_model("val")
    assert [split for _, split in population.evaluated] == ["validation"]
