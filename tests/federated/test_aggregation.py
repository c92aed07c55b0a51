"""FedAvg, the server's optimisers and the aggregations of prototypes, against numbers made by hand."""

from typing import Any

import numpy as np
import pytest

from fedmem.federated.aggregation import ITEM_ROWS, CohortSum, FederatedAggregator, OptimizerState
from fedmem.federated.messages import ClientUpdate
from fedmem.memory.prototypes import Prototypes
from tests.tiny import tiny_config


def aggregator(federated: dict[str, Any] | None = None, fedmem: dict[str, Any] | None = None) -> FederatedAggregator:
    config = tiny_config(federated=federated or {}, fedmem=fedmem or {})
    return FederatedAggregator(config.federated, config.fedmem)


def update(samples: int, *rows: list[float], **metrics: float) -> ClientUpdate:
    return ClientUpdate(samples, {ITEM_ROWS: np.array(rows), "bias": np.full(2, float(samples))}, metrics=metrics)


def prototypes(sums: list[list[float]], counts: list[float]) -> Prototypes:
    """Of one block."""
    return Prototypes({"id": np.array(sums, np.float32)}, {"id": np.array(counts, np.float32)})


# FedAvg


def test_clients_weigh_by_their_samples():
    cohort = sum_of(update(1, [4.0, 0.0])) + sum_of(update(3, [0.0, 8.0]))
    mean = aggregator({"row_normalisation": False}).average(cohort)
    assert mean[ITEM_ROWS].tolist() == [[1.0, 6.0]]
    assert mean["bias"].tolist() == [2.5, 2.5]  # (1·1 + 3·3) / 4


def test_sums_add_metrics_weights_and_clients():
    cohort = sum_of(update(2, [1.0], loss=1.0)) + sum_of(update(5, [1.0], loss=2.5))
    assert (cohort.clients, cohort.weight, cohort.metrics) == (2, 7.0, {"loss": 3.5})


def test_a_row_is_divided_by_the_weight_of_those_who_touched_it():
    first = update(1, [4.0], [2.0], [0.0])
    second = update(3, [8.0], [0.0], [0.0])
    cohort = sum_of(first) + sum_of(second)
    mean = aggregator({"row_normalisation": True}).average(cohort)
    assert mean[ITEM_ROWS].tolist() == [[7.0], [2.0], [0.0]]  # (1·4 + 3·8)/4, 1·2/1, nobody
    assert mean["bias"].tolist() == [2.5, 2.5]


def test_plain_averaging_gives_the_mean_of_the_clients_models():
    parameters = {"w": np.array([1.0, 2.0])}
    models = {2: np.array([3.0, 0.0]), 6: np.array([-1.0, 4.0])}
    first, second = (CohortSum.of(ClientUpdate(n, {"w": model - parameters["w"]})) for n, model in models.items())
    plain = aggregator({"server_optimizer": "none", "server_learning_rate": 1.0, "server_warmup_steps": 0})
    merged, state = plain.step(parameters, plain.average(first + second), OptimizerState.zeros(parameters))
    np.testing.assert_allclose(merged["w"], (2 * models[2] + 6 * models[6]) / 8, atol=1e-15)
    assert state.step == 1


# The server's optimisers


DELTAS = [np.array([1.0, -2.0]), np.array([0.5, 0.0]), np.array([-3.0, 1.0])]


def run_steps(federated: dict[str, Any]) -> np.ndarray:
    server = aggregator(federated)
    parameters, state = {"w": np.array([1.0, 1.0])}, OptimizerState.zeros({"w": np.zeros(2)})
    for delta in DELTAS:
        parameters, state = server.step(parameters, {"w": delta}, state)
    assert state.step == len(DELTAS)
    return parameters["w"]


def test_server_momentum():
    found = run_steps(
        {
            "server_optimizer": "momentum",
            "server_momentum": 0.8,
            "server_learning_rate": 0.1,
            "server_warmup_steps": 0,
        }
    )
    expected, velocity = np.array([1.0, 1.0]), np.zeros(2)
    for delta in DELTAS:
        velocity = 0.8 * velocity + delta
        expected += 0.1 * velocity
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("warmup", [0, 2, 10])
def test_server_adam_with_warm_up(warmup):
    found = run_steps(
        {
            "server_optimizer": "adam",
            "server_beta1": 0.7,
            "server_beta2": 0.9,
            "server_epsilon": 0.01,
            "server_learning_rate": 0.5,
            "server_warmup_steps": warmup,
        }
    )
    expected, first, second = np.array([1.0, 1.0]), np.zeros(2), np.zeros(2)
    for t, delta in enumerate(DELTAS, start=1):
        first = 0.7 * first + 0.3 * delta
        second = 0.9 * second + 0.1 * delta**2
        rate = 0.5 * (min(1, t / warmup) if warmup else 1)
        expected += rate * (first / (1 - 0.7**t)) / (np.sqrt(second / (1 - 0.9**t)) + 0.01)
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("optimizer", ["none", "momentum", "adam"])
def test_optimisers_keep_single_precision(optimizer):
    parameters = {"w": np.ones(2, np.float32)}
    server = aggregator({"server_optimizer": optimizer})
    stepped, state = server.step(parameters, {"w": np.ones(2, np.float32)}, OptimizerState.zeros(parameters))
    assert {stepped["w"].dtype, state.first["w"].dtype, state.second["w"].dtype} == {np.dtype(np.float32)}
    assert parameters["w"].tolist() == [1, 1]


def test_the_moving_average_of_the_model():
    server = aggregator({"server_averaging": 0.6})
    averaged, expected = {"w": np.array([0.0])}, 0.0
    for step, value in enumerate([1.0, 2.0, 3.0, 4.0] * 5, start=1):
        averaged = server.moving_average(averaged, {"w": np.array([value])}, step)
        decay = min(0.6, step / (step + 9))
        expected = decay * expected + (1 - decay) * value
    assert averaged["w"][0] == pytest.approx(expected, abs=1e-14)


def test_no_averaging_is_the_model_itself():
    parameters = {"w": np.array([3.0, 4.0])}
    averaged = aggregator({"server_averaging": 0.0}).moving_average({"w": np.zeros(2)}, parameters, 7)
    assert averaged["w"].tolist() == [3.0, 4.0]


# Prototypes. The first client has 2 and 1 members, the second none and 4; they trained on 10 and 30 samples.

FIRST = prototypes([[2.0, 4.0], [3.0, 0.0]], [2, 1])
SECOND = prototypes([[0.0, 0.0], [4.0, 8.0]], [0, 4])
UPLOADS = [(FIRST, 10.0), (SECOND, 30.0)]
NOTHING = prototypes([[0.0, 0.0], [0.0, 0.0]], [0, 0])


def merged(aggregation: str, current: Prototypes = NOTHING, momentum: float = 0.0, **more: Any) -> Prototypes:
    server = aggregator(
        fedmem={"prototype_aggregation": aggregation, "prototype_momentum": momentum, "num_memory_prototypes": 2} | more
    )
    return server.merge_prototypes(UPLOADS, current)


def test_mean_counts_every_client_that_has_the_index_once():
    found = merged("mean")
    np.testing.assert_allclose(found.centroids("id"), [[1.0, 2.0], [(3 + 1) / 2, (0 + 2) / 2]], rtol=1e-6)
    np.testing.assert_allclose(found.mass, [1, 2])


def test_weighted_by_samples_as_in_the_original():
    found = merged("weighted")
    np.testing.assert_allclose(
        found.centroids("id"), [[1.0, 2.0], [(10 * 3 + 30 * 1) / 40, (10 * 0 + 30 * 2) / 40]], rtol=1e-6
    )
    np.testing.assert_allclose(found.mass, [10, 40])


def test_weighted_by_counts():
    found = merged("weighted", prototype_weights="counts")
    np.testing.assert_allclose(found.centroids("id"), [[1.0, 2.0], [7 / 5, 8 / 5]], rtol=1e-6)
    np.testing.assert_allclose(found.mass, [2, 5])


def test_recluster_groups_all_uploads_by_distance():
    """The second client's index 1 lies beside the first's index 0, so it goes there whatever its number."""
    uploads = [
        (prototypes([[2.0, 0.0], [30.0, 30.0]], [2, 3]), 1.0),
        (prototypes([[0.0, 0.0], [4.0, 8.0]], [0, 4]), 1.0),
    ]
    server = aggregator(fedmem={"prototype_aggregation": "recluster", "prototype_momentum": 0.0})
    found = server.merge_prototypes(uploads, prototypes([[0.0, 0.0], [9.0, 9.0]], [1, 1]))
    np.testing.assert_allclose(found.sums["id"], [[6.0, 8.0], [30.0, 30.0]], rtol=1e-6)
    np.testing.assert_allclose(found.mass, [6, 3])


def test_the_moving_average_keeps_what_this_round_did_not_see():
    current = prototypes([[8.0, 8.0], [1.0, 1.0]], [4, 1])
    found = merged("weighted", current, 0.75, prototype_weights="counts")
    np.testing.assert_allclose(
        found.sums["id"],
        [[0.75 * 8 + 0.25 * 2, 0.75 * 8 + 0.25 * 4], [0.75 + 0.25 * 7, 0.75 + 0.25 * 8]],
        rtol=1e-6,
    )
    np.testing.assert_allclose(found.mass, [0.75 * 4 + 0.25 * 2, 0.75 + 0.25 * 5], rtol=1e-6)


def test_an_index_nobody_uploads_keeps_its_centroid():
    server = aggregator(fedmem={"prototype_momentum": 0.9})
    current = prototypes([[8.0, 4.0], [1.0, 1.0]], [4, 1])
    found = server.merge_prototypes([(prototypes([[0.0, 0.0], [5.0, 5.0]], [0, 1]), 3.0)], current)
    np.testing.assert_allclose(found.centroids("id")[0], [2.0, 1.0], rtol=1e-6)


def test_without_uploads_the_global_memory_stays():
    current = prototypes([[1.0, 2.0]], [1])
    assert aggregator().merge_prototypes([], current) is current


@pytest.mark.parametrize("aggregation", ["mean", "weighted", "recluster"])
def test_empty_memories_move_no_centroid(aggregation):
    server = aggregator(fedmem={"prototype_aggregation": aggregation})
    current = prototypes([[1.0, 2.0], [4.0, 4.0]], [1, 2])
    found = server.merge_prototypes([(NOTHING, 5.0), (NOTHING, 7.0)], current)
    np.testing.assert_allclose(found.centroids("id"), current.centroids("id"), rtol=1e-6)
