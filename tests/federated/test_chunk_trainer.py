"""Many clients at once give what they give one at a time: in float64, to the order of additions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmem.checkpoint import Snapshot
from fedmem.config import ExperimentConfig
from fedmem.config_reader import merged
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.federated.aggregation import AGGREGATIONS, Aggregation
from fedmem.federated.messages import ITEM_ROWS, Broadcast, GatheredPrototypes, UpdateSum
from fedmem.federated.postprocessing import Postprocessor, Postprocessors
from fedmem.federated.start import initial_prototypes
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.transitions import TransitionCounts
from tests.reference.population import SlowPopulation
from tests.tiny import (
    ITEMS,
    memories_of,
    noisy_parameters,
    numbers,
    population_of,
    tiny_config,
    tiny_snapshot,
    total,
    walks,
)

# Histories of 1 training item, of a few, of exactly one segment of 13, and of several segments; min_sequence_length 3.
LENGTHS = (3, 4, 6, 15, 16, 40)
ROUND = 3


def together_config(**changes: Any) -> ExperimentConfig:
    """All clients in one chunk."""
    return tiny_config(**merged(changes, {"federated": {"chunk_size": len(LENGTHS)}}))


def ragged(seed: int) -> FederatedDataset:
    sequences = [walks(1, ITEMS, seed=seed + n, shortest=n, longest=n)[0] for n in LENGTHS]
    return FederatedDataset.from_sequences(sequences, ITEMS, min_sequence_length=3)


def memory_of(history: np.ndarray, dim: int, seed: int) -> MemoryEntries:
    """Some of a client's items, as an earlier round might have left them."""
    rng = np.random.default_rng(seed)
    index = np.sort(rng.permutation(len(history))[:4]).astype(np.int32)
    n = len(index)
    surprise, embedding = rng.random(n).astype(np.float32), rng.standard_normal((n, dim)).astype(np.float32)
    frequency = rng.integers(1, 4, n).astype(np.int32)
    return MemoryEntries(history[index], index, frequency, surprise, embedding).last_of_each_item()


def some_memories(snapshot: Snapshot) -> dict[int, MemoryEntries]:
    """Every other client has a memory already."""
    dataset, dim = snapshot.dataset, snapshot.config.model.sasrec_hidden_dim
    odd = [user for user in dataset.trainable_users.tolist() if user % 2]
    return {user: memory_of(dataset.training_history(user), dim, user) for user in odd}


def both_ways(
    config: ExperimentConfig,
    seed: int = 0,
    postprocessors: Postprocessors = (),
    *,
    double: bool = True,
    **features: bool,
) -> tuple[UpdateSum, UpdateSum]:
    """(the chunk's sum, that of the slow twin's clients), with the memories compared on the way."""
    snapshot = tiny_snapshot(config, ragged(seed), **features)
    chunked, alone = population_of(snapshot, double=double), SlowPopulation(snapshot, double=double)
    chunked.restore_memories([some_memories(snapshot)], ROUND)
    alone.restore(some_memories(snapshot))
    prototypes = (
        initial_prototypes(config.fedmem, config.seed, chunked.model, snapshot.features)
        if config.uses_prototypes
        else None
    )
    broadcast = Broadcast(ROUND, noisy_parameters(chunked, seed), prototypes)
    users = snapshot.dataset.trainable_users
    together, one_by_one = total(chunked.train(users, broadcast, postprocessors)), total(alone.train(users, broadcast))
    if double:
        assert_same_memories(memories_of(chunked, ROUND + 1), alone.memories())
    return together, one_by_one


def assert_same_memories(found: Mapping[int, MemoryEntries], expected: Mapping[int, MemoryEntries]) -> None:
    assert found.keys() == expected.keys()
    for user, memory in found.items():
        assert_same_memory(memory, expected[user])


def assert_same_memory(a: MemoryEntries, b: MemoryEntries) -> None:
    for name in ("items", "index", "frequency"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    for name in ("surprise", "id_embedding"):  # float32 by design
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6, atol=1e-6)


def assert_same_transitions(a: TransitionCounts, b: TransitionCounts) -> None:
    assert not (a.pairs != b.pairs).nnz
    assert a.taken.tolist() == b.taken.tolist()


def dense(cohort: UpdateSum) -> dict[str, np.ndarray]:
    rows = {} if cohort.item_rows is None else {ITEM_ROWS: cohort.item_rows.dense()}
    return {**cohort.delta, **rows}


def assert_same_sums(together: UpdateSum, one_by_one: UpdateSum, config: ExperimentConfig) -> None:
    assert together.clients == one_by_one.clients
    assert together.weight == one_by_one.weight
    assert together.upload_bytes == one_by_one.upload_bytes
    found, expected = dense(together), dense(one_by_one)
    assert found.keys() == expected.keys()
    for name, delta in found.items():
        assert delta.dtype == np.float64
        a, b = delta / together.weight, expected[name] / together.weight  # the mean update, as the server applies it
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10, err_msg=name)
    if config.federated.row_normalisation:
        np.testing.assert_array_equal(together.row_weight, one_by_one.row_weight)
    assert type(together.prototypes) is type(one_by_one.prototypes)
    if together.prototypes is not None:
        a, b = (p.all if isinstance(p, GatheredPrototypes) else p for p in (together.prototypes, one_by_one.prototypes))
        for block in b.sums:
            np.testing.assert_allclose(a.counts[block], b.counts[block], rtol=1e-6)
            np.testing.assert_allclose(a.sums[block], b.sums[block], rtol=1e-5, atol=1e-5)
    assert (together.transitions is None) == (one_by_one.transitions is None)
    if together.transitions is not None:
        assert_same_transitions(together.transitions, one_by_one.transitions)
    found, expected = numbers(together.metrics), numbers(one_by_one.metrics)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values == pytest.approx(expected[name], rel=1e-6, abs=1e-6), name


CONFIGURATIONS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 5),
        "model": st.fixed_dictionaries(
            {
                "sasrec_dropout": st.sampled_from([0.0, 0.2]),
                "moe_dropout": st.sampled_from([0.0, 0.3]),
                "moe_balance": st.sampled_from([0.0, 0.1, 2.0]),
                "fusion_method": st.sampled_from(["weighted", "learned", "adaptive"]),
            }
        ),
        "fedmem": st.fixed_dictionaries(
            {
                "contrastive_lambda": st.sampled_from([0.0, 0.1, 1.0]),
                "memory_policy": st.sampled_from(["surprise", "random", "last"]),
                "surprise_quantile": st.sampled_from([None, 0.6]),
            }
        ),
        "training": st.fixed_dictionaries(
            {
                "loss": st.sampled_from(["bpr", "sampled_softmax", "full_softmax"]),
                "weight_decay": st.sampled_from([0.0, 0.01]),
                "learning_rate": st.sampled_from([1.0, 0.3]),
                "crop_probability": st.sampled_from([0.0, 0.3, 1.0]),
            }
        ),
        "federated": st.fixed_dictionaries({"aggregation_method": st.sampled_from(["fedavg", "fedprox"])}),
        "ablation": st.fixed_dictionaries(
            {
                "disable_memory": st.sampled_from([False, False, True]),
                "disable_prototype_agg": st.booleans(),
                "disable_transitions": st.booleans(),
                "disable_moe": st.sampled_from([False, False, True]),
            }
        ),
    }
)


SEVERAL = st.fixed_dictionaries(
    {
        "training": st.fixed_dictionaries(
            {
                "optimizer": st.sampled_from(["sgd", "adam"]),
                "learning_rate": st.sampled_from([0.001, 0.01]),
                "momentum": st.sampled_from([0.0, 0.9]),
                # By 1e-8 Adam divides gradients that are zero but for their rounding, up to 1e-9 of a difference.
                "epsilon": st.just(1e-3),
                "batch_size": st.sampled_from([None, 2, 4, 7]),
            }
        ),
        "federated": st.fixed_dictionaries(
            {
                "local_epochs": st.sampled_from([1, 2]),
                "fedprox_mu": st.sampled_from([0.01, 1.0]),
                "row_normalisation": st.booleans(),
            }
        ),
        "fedmem": st.fixed_dictionaries({"prototype_aggregation": st.sampled_from(["mean", "weighted", "recluster"])}),
    }
)


def allowed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A control policy chooses from the whole history: such a configuration is refused with batches."""
    if changes["training"]["batch_size"] is not None:
        return merged(changes, {"fedmem": {"memory_policy": "surprise"}})
    return dict(changes)


@settings(max_examples=25)
@given(changes=CONFIGURATIONS, seed=st.integers(0, 99), text=st.booleans(), image=st.booleans(), prefs=st.booleans())
def test_a_chunk_is_the_sum_of_its_clients(changes, seed, text, image, prefs):
    config = together_config(**changes)
    assert config.is_fedsgd
    assert_same_sums(*both_ways(config, seed, text=text, image=image, preferences=prefs), config)


@settings(max_examples=25)
@given(
    changes=CONFIGURATIONS,
    several=SEVERAL,
    seed=st.integers(0, 99),
    text=st.booleans(),
    image=st.booleans(),
    prefs=st.booleans(),
)
def test_a_chunk_of_several_steps_is_the_sum_of_its_clients(changes, several, seed, text, image, prefs):
    config = together_config(**allowed(merged(changes, several)))
    assert_same_sums(*both_ways(config, seed, text=text, image=image, preferences=prefs), config)


EVERYTHING = {
    "model": {"sasrec_dropout": 0.3, "moe_dropout": 0.3},
    "training": {"weight_decay": 0.01},
    "federated": {"aggregation_method": "fedprox", "fedprox_mu": 1.0},
}
LOCAL_ADAM = {
    "training": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 4, "epsilon": 1e-3},
    "federated": {"local_epochs": 2, "row_normalisation": True},
}


@pytest.mark.parametrize("loss", ["bpr", "sampled_softmax", "full_softmax"])
@pytest.mark.parametrize("several", [{}, LOCAL_ADAM, merged(LOCAL_ADAM, {"training": {"epsilon": 1e-8}})])
def test_a_chunk_is_the_sum_of_its_clients_with_everything_on(loss, several):
    config = together_config(**merged(merged(EVERYTHING, several), {"training": {"loss": loss}}))
    together, one_by_one = both_ways(config)
    assert together.metrics["contrastive_loss"].value > 0
    assert together.metrics["memory_updates"].value > 0
    assert together.metrics["memory_evictions"].value > 0
    assert_same_sums(together, one_by_one, config)


@pytest.mark.parametrize("loss", ["bpr", "full_softmax"])
@pytest.mark.parametrize("several", [{}, LOCAL_ADAM])
def test_a_client_counts_for_what_the_aggregation_says(monkeypatch, loss, several):
    monkeypatch.setitem(AGGREGATIONS, "fedavg", Aggregation(weight=lambda samples: samples // 2 + 1))
    changes = {"training": {"weight_decay": 0.01, "loss": loss}}
    config = together_config(**merged(several, changes))
    together, one_by_one = both_ways(config)
    assert together.weight == (ragged(0).training_lengths // 2 + 1).sum()
    assert_same_sums(together, one_by_one, config)


@pytest.mark.parametrize("loss", ["bpr", "sampled_softmax", "full_softmax"])
def test_in_float32_to_rounding(loss):
    config = together_config(**merged(merged(EVERYTHING, LOCAL_ADAM), {"training": {"loss": loss}}))
    together, one_by_one = both_ways(config, double=False)
    for name, delta in dense(together).items():
        assert delta.dtype == np.float32
        a, b = delta / together.weight, dense(one_by_one)[name] / together.weight
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-6, err_msg=name)


def test_the_sums_would_notice_another_seed():
    together, _ = both_ways(together_config(seed=1))
    _, one_by_one = both_ways(together_config(seed=2))
    with pytest.raises(AssertionError):
        assert_same_sums(together, one_by_one, together_config())


@pytest.mark.parametrize("several", [{}, LOCAL_ADAM], ids=["FedSGD", "several steps"])
def test_chunks_of_one_are_those_clients(several):
    config = tiny_config(**merged(merged(EVERYTHING, several), {"federated": {"chunk_size": 1}}))
    assert_same_sums(*both_ways(config), config)


class Nothing(Postprocessor):
    """Looks at what each client sends and leaves it as it is."""

    def postprocess_one_client(self, update, rng):
        return update


@pytest.mark.parametrize("aggregation", ["mean", "weighted", "recluster"])
@pytest.mark.parametrize("several", [{}, LOCAL_ADAM], ids=["FedSGD", "several steps"])
def test_clients_that_send_updates_of_their_own_send_the_same(several, aggregation):
    config = together_config(**merged(EVERYTHING, several), fedmem={"prototype_aggregation": aggregation})
    assert_same_sums(*both_ways(config, postprocessors=(Nothing(),)), config)


@settings(max_examples=15)
@given(changes=CONFIGURATIONS, seed=st.integers(0, 99), text=st.booleans(), image=st.booleans(), prefs=st.booleans())
def test_clients_that_send_updates_of_their_own_send_the_same_whatever_is_on(changes, seed, text, image, prefs):
    config = together_config(**merged(changes, {"training": {"loss": "full_softmax"}}))
    features = {"text": text, "image": image, "preferences": prefs}
    assert_same_sums(*both_ways(config, seed, (Nothing(),), **features), config)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"optimizer": "adam"}},
        {"training": {"batch_size": 4}},
        {"federated": {"local_epochs": 2}},
        {"federated": {"row_normalisation": True}},
    ],
)
def test_several_local_steps_are_no_single_step(changes):
    config = tiny_config(**changes)
    assert not config.is_fedsgd
