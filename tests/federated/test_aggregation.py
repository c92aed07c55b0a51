"""FedAvg, the server's optimisers and the aggregations of prototypes, against numbers made by hand."""

import functools
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.federated.aggregation import FederatedAggregator, weighted
from fedmem.federated.messages import ITEM_ROWS, ClientUpdate, GatheredPrototypes, RowSum, UpdateSum
from fedmem.federated.prototype_aggregation import reduce_prototypes
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.federated.sums import Mean
from fedmem.memory.prototypes import Prototypes
from fedmem.modality import Modality
from tests.tiny import tiny_config

TEXT, ID = Modality.TEXT, Modality.SEQUENTIAL


def aggregator(federated: dict[str, Any] | None = None, fedmem: dict[str, Any] | None = None) -> FederatedAggregator:
    config = tiny_config(federated=federated or {}, fedmem=fedmem or {})
    return FederatedAggregator(config.federated, config.fedmem)


def update(samples: int, *rows: list[float], **metrics: float) -> ClientUpdate:
    sums = {name: Mean(value, samples) for name, value in metrics.items()}
    return ClientUpdate(samples, {ITEM_ROWS: np.array(rows), "bias": np.full(2, float(samples))}, metrics=sums)


def sum_of(sent: ClientUpdate, *, rows: bool = False, **fedmem: Any) -> UpdateSum:
    config = tiny_config(fedmem=fedmem, federated={"row_normalisation": rows})
    return weighted(sent, config.federated, config.fedmem)


def prototypes(sums: list[list[float]], counts: list[float]) -> Prototypes:
    """Of one block."""
    return Prototypes({ID: np.array(sums, np.float32)}, {ID: np.array(counts, np.float32)})


# FedAvg


def test_clients_weigh_by_their_samples():
    cohort = sum_of(update(1, [4.0, 0.0])) + sum_of(update(3, [0.0, 8.0]))
    mean = aggregator({"row_normalisation": False}).average(cohort)
    assert mean[ITEM_ROWS].tolist() == [[1.0, 6.0]]
    assert mean["bias"].tolist() == [2.5, 2.5]  # (1·1 + 3·3) / 4


def test_sums_add_metrics_weights_and_clients():
    cohort = sum_of(update(2, [1.0], loss=1.0)) + sum_of(update(5, [1.0], loss=2.5))
    assert (cohort.clients, cohort.weight, cohort.metrics) == (2, 7.0, {"loss": Mean(3.5, 7)})


def test_a_row_is_divided_by_the_weight_of_those_who_touched_it():
    first = update(1, [4.0], [2.0], [0.0])
    second = update(3, [8.0], [0.0], [0.0])
    cohort = sum_of(first, rows=True) + sum_of(second, rows=True)
    mean = aggregator({"row_normalisation": True}).average(cohort)
    assert mean[ITEM_ROWS].tolist() == [[7.0], [2.0], [0.0]]  # (1·4 + 3·8)/4, 1·2/1, by none
    assert mean["bias"].tolist() == [2.5, 2.5]


def test_who_touched_a_row_is_not_sent_where_nothing_is_divided_by_it():
    assert sum_of(update(1, [4.0], [2.0])).row_weight is None
    assert sum_of(update(1, [4.0], [0.0]), rows=True).row_weight.tolist() == [1, 0]


def test_plain_averaging_gives_the_mean_of_the_clients_models():
    parameters = {"w": np.array([1.0, 2.0])}
    models = {2: np.array([3.0, 0.0]), 6: np.array([-1.0, 4.0])}
    first, second = (sum_of(ClientUpdate(n, {"w": model - parameters["w"]})) for n, model in models.items())
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


def uploaded(uploads: list[tuple[Prototypes, float]], **fedmem: Any) -> Prototypes | GatheredPrototypes:
    """What the clients' sums come to, added one after another as a round does."""
    found = [sum_of(ClientUpdate(int(samples), {}, sent), **fedmem) for sent, samples in uploads]
    return functools.reduce(operator.add, found).prototypes


def merge(uploads: list[tuple[Prototypes, float]], current: Prototypes, **fedmem: Any) -> Prototypes:
    return aggregator(fedmem=fedmem).merge_prototypes(uploaded(uploads, **fedmem), current)


def merged(aggregation: str, current: Prototypes = NOTHING, momentum: float = 0.0, **more: Any) -> Prototypes:
    changes = {"prototype_aggregation": aggregation, "prototype_momentum": momentum, "num_memory_prototypes": 2}
    return merge(UPLOADS, current, **changes, **more)


def test_mean_counts_every_client_that_has_the_index_once():
    found = merged("mean")
    np.testing.assert_allclose(found.centroids(ID), [[1.0, 2.0], [(3 + 1) / 2, (0 + 2) / 2]], rtol=1e-6)
    np.testing.assert_allclose(found.mass, [1, 2])


def test_weighted_by_samples_as_in_the_original():
    found = merged("weighted", prototype_weights="samples")
    np.testing.assert_allclose(
        found.centroids(ID), [[1.0, 2.0], [(10 * 3 + 30 * 1) / 40, (10 * 0 + 30 * 2) / 40]], rtol=1e-6
    )
    np.testing.assert_allclose(found.mass, [10, 40])


def test_weighted_by_counts():
    found = merged("weighted", prototype_weights="counts")
    np.testing.assert_allclose(found.centroids(ID), [[1.0, 2.0], [7 / 5, 8 / 5]], rtol=1e-6)
    np.testing.assert_allclose(found.mass, [2, 5])


def test_recluster_groups_all_uploads_by_distance():
    """The second client's index 1 lies beside the first's index 0, so it goes there whatever its number."""
    uploads = [
        (prototypes([[2.0, 0.0], [30.0, 30.0]], [2, 3]), 1.0),
        (prototypes([[0.0, 0.0], [4.0, 8.0]], [0, 4]), 1.0),
    ]
    current = prototypes([[0.0, 0.0], [9.0, 9.0]], [1, 1])
    found = merge(uploads, current, prototype_aggregation="recluster", prototype_momentum=0.0)
    np.testing.assert_allclose(found.sums[ID], [[6.0, 8.0], [30.0, 30.0]], rtol=1e-6)
    np.testing.assert_allclose(found.mass, [6, 3])


def test_the_moving_average_keeps_what_this_round_did_not_see():
    current = prototypes([[8.0, 8.0], [1.0, 1.0]], [4, 1])
    found = merged("weighted", current, 0.75, prototype_weights="counts")
    np.testing.assert_allclose(
        found.sums[ID],
        [[0.75 * 8 + 0.25 * 2, 0.75 * 8 + 0.25 * 4], [0.75 + 0.25 * 7, 0.75 + 0.25 * 8]],
        rtol=1e-6,
    )
    np.testing.assert_allclose(found.mass, [0.75 * 4 + 0.25 * 2, 0.75 + 0.25 * 5], rtol=1e-6)


def test_an_index_without_uploads_keeps_its_centroid():
    current = prototypes([[8.0, 4.0], [1.0, 1.0]], [4, 1])
    found = merge([(prototypes([[0.0, 0.0], [5.0, 5.0]], [0, 1]), 3.0)], current, prototype_momentum=0.9)
    np.testing.assert_allclose(found.centroids(ID)[0], [2.0, 1.0], rtol=1e-6)


@pytest.mark.parametrize("aggregation", ["mean", "weighted", "recluster"])
def test_empty_memories_move_no_centroid(aggregation):
    current = prototypes([[1.0, 2.0], [4.0, 4.0]], [1, 2])
    found = merge([(NOTHING, 5.0), (NOTHING, 7.0)], current, prototype_aggregation=aggregation)
    np.testing.assert_allclose(found.centroids(ID), current.centroids(ID), rtol=1e-6)


# What a chunk of clients is reduced to


@st.composite
def uploads_of(draw: st.DrawFn) -> tuple[list[Prototypes], list[int]]:
    """Up to six clients' prototypes of two blocks, with empty indices among them, and their training samples."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    k, clients = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    found = []
    for _ in range(clients):
        ids = rng.integers(0, 3, k)
        counts = {TEXT: rng.integers(0, ids + 1).astype(np.float32), ID: ids.astype(np.float32)}
        sums = {block: rng.normal(size=(k, 3)).astype(np.float32) * n[:, None] for block, n in counts.items()}
        found.append(Prototypes(sums, counts))
    return found, rng.integers(1, 50, clients).tolist()


def stacked(clients: list[Prototypes]) -> Prototypes:
    """With a leading dimension [C]."""
    return Prototypes(
        {b: np.stack([c.sums[b] for c in clients]) for b in clients[0].blocks},
        {b: np.stack([c.counts[b] for c in clients]) for b in clients[0].blocks},
    )


def one_after_another(clients: list[Prototypes], samples: list[int], aggregation: str, weights: str) -> Prototypes:
    """The reduction by its definition, index by index."""
    total = clients[0].scaled(0.0)
    for client, n in zip(clients, samples, strict=True):
        for k, mass in enumerate(client.mass):
            share = {"mean": 1.0, "weighted": float(n) if weights == "samples" else mass}[aggregation]
            for block in client.blocks:
                factor = share / mass if mass else 0.0
                total.sums[block][k] += factor * client.sums[block][k]
                total.counts[block][k] += factor * client.counts[block][k]
    return total


def assert_same_prototypes(found: Prototypes, expected: Prototypes) -> None:
    assert found.blocks == expected.blocks
    for block in expected.blocks:
        np.testing.assert_allclose(found.sums[block], expected.sums[block], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.counts[block], expected.counts[block], rtol=1e-5)


@pytest.mark.parametrize(
    ("aggregation", "weights"), [("mean", "samples"), ("weighted", "samples"), ("weighted", "counts")]
)
@given(uploads=uploads_of())
def test_a_chunks_prototypes_are_reduced_as_one_after_another(aggregation, weights, uploads):
    clients, samples = uploads
    config = tiny_config(fedmem={"prototype_aggregation": aggregation, "prototype_weights": weights}).fedmem
    found = reduce_prototypes(stacked(clients), np.array(samples), config)
    assert_same_prototypes(found, one_after_another(clients, samples, aggregation, weights))


@given(uploads=uploads_of())
def test_recluster_keeps_every_clients_prototypes(uploads):
    clients, samples = uploads
    config = tiny_config(fedmem={"prototype_aggregation": "recluster"}).fedmem
    found = reduce_prototypes(stacked(clients), np.array(samples), config)
    assert isinstance(found, GatheredPrototypes)
    one_by_one = uploaded(list(zip(clients, samples, strict=True)), prototype_aggregation="recluster")
    for block in clients[0].blocks:
        expected = np.concatenate([client.sums[block] for client in clients])
        assert np.array_equal(found.all.sums[block], expected)
        assert np.array_equal(one_by_one.all.sums[block], expected)
        assert np.array_equal(found.all.counts[block], np.concatenate([client.counts[block] for client in clients]))


# Sums of some rows of the item embeddings


@st.composite
def row_sums(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of a table of nine, some twice, with their values; some of none at all."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    return [(rng.integers(0, 9, n), rng.integers(-5, 6, (n, 2)).astype(np.float64)) for n in sizes]


def row_sum(rows: np.ndarray, values: np.ndarray) -> RowSum:
    """As a chunk makes it: every row once, with the sum of its values."""
    distinct, place = np.unique(rows, return_inverse=True)
    total = np.zeros((len(distinct), 2))
    np.add.at(total, place, values)
    return RowSum(distinct, total, 9)


@given(row_sums())
def test_row_sums_are_sums_of_whole_tables(parts):
    expected = np.zeros((9, 2))
    for rows, values in parts:
        for row, value in zip(rows, values, strict=True):
            expected[row] += value
    found = functools.reduce(operator.add, [row_sum(rows, values) for rows, values in parts])
    assert np.array_equal(found.dense(), expected)
    assert (np.diff(found.rows) > 0).all()
    assert set(found.rows) == {row for rows, _ in parts for row in rows.tolist()}


@pytest.mark.parametrize("row_normalisation", [False, True])
def test_row_sums_may_stand_for_the_table(row_normalisation):
    """Two clients, of 1 and 3 samples; the first touched rows 0 and 2, the second row 2."""
    server = aggregator({"row_normalisation": row_normalisation})
    touched = np.array([1.0, 0.0, 4.0, 0.0])
    rows = RowSum(np.array([0]), np.array([[2.0, 4.0]]), 4) + RowSum(np.array([2]), np.array([[8.0, -8.0]]), 4)
    bias = {"bias": np.array([4.0])}
    mean = server.average(UpdateSum(bias, 4.0, item_rows=rows, row_weight=touched))
    assert mean.keys() == {"bias", ITEM_ROWS}
    assert mean["bias"].tolist() == [1.0]
    first = [2.0, 4.0] if row_normalisation else [0.5, 1.0]
    assert mean[ITEM_ROWS].tolist() == [first, [0.0, 0.0], [2.0, -2.0], [0.0, 0.0]]
    whole = server.average(UpdateSum({**bias, ITEM_ROWS: rows.dense()}, 4.0, row_weight=touched))
    assert np.array_equal(mean[ITEM_ROWS], whole[ITEM_ROWS])
