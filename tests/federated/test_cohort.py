"""Many clients at once give what they give one at a time: in float64, to the order of additions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.federated.aggregation import CohortSum
from fedmem.federated.cohort import takes_one_step, train_chunk
from fedmem.federated.messages import Broadcast
from fedmem.federated.server import total
from fedmem.federated.simulation import SimulatedPopulation, initial_prototypes
from fedmem.memory.local_memory import MemoryEntries
from tests.tiny import ITEMS, noisy_parameters, population_of, tiny_config, tiny_snapshot, walks

# Histories of 1 training item, of a few, of exactly one segment of 13, and of several segments; min_sequence_length 3.
LENGTHS = (3, 4, 6, 15, 16, 40)
ROUND = 3


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


def population(config: ExperimentConfig, seed: int, **features: bool) -> SimulatedPopulation:
    """Clients of which every other has a memory already, around a float64 model."""
    found = population_of(tiny_snapshot(config, ragged(seed), **features), double=True)
    for user, client in found.clients.items():
        if user % 2:
            entries = memory_of(client.data.history, config.model.sasrec_hidden_dim, user)
            client.memory.restore(entries)
    return found


def broadcast_of(found: SimulatedPopulation, seed: int) -> Broadcast:
    snapshot = tiny_snapshot(found.config, found.dataset, text=found.model.text is not None)
    prototypes = initial_prototypes(found.config, found.model, snapshot.features)
    return Broadcast(ROUND, noisy_parameters(found, seed), prototypes if found.config.uses_prototypes else None)


def both_ways(config: ExperimentConfig, seed: int = 0, **features: bool) -> tuple[CohortSum, CohortSum]:
    """(the chunk's sum, the sum of its clients one at a time), with the memories compared on the way."""
    chunked, alone = population(config, seed, **features), population(config, seed, **features)
    broadcast = broadcast_of(chunked, seed)
    together = train_chunk(list(chunked.clients.values()), chunked.model, broadcast)
    one_by_one = total(CohortSum.of(client.participate(alone.model, broadcast)) for client in alone.clients.values())
    for user, client in chunked.clients.items():
        assert_same_memory(client.memory.entries(), alone.clients[user].memory.entries())
    return together, one_by_one


def assert_same_memory(a: MemoryEntries, b: MemoryEntries) -> None:
    for name in ("items", "index", "frequency"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    for name in ("surprise", "id_embedding"):  # float32 by design
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6, atol=1e-6)


def assert_same_sums(together: CohortSum, one_by_one: CohortSum) -> None:
    assert together.clients == one_by_one.clients
    assert together.weight == one_by_one.weight
    assert together.delta.keys() == one_by_one.delta.keys()
    for name, delta in together.delta.items():
        assert delta.dtype == np.float64
        np.testing.assert_allclose(delta, one_by_one.delta[name], rtol=0, atol=1e-10, err_msg=name)
    assert len(together.prototypes) == len(one_by_one.prototypes)
    for (a, a_weight), (b, b_weight) in zip(together.prototypes, one_by_one.prototypes, strict=True):
        assert a_weight == b_weight
        for block in b.sums:
            assert np.array_equal(a.counts[block], b.counts[block])
            np.testing.assert_allclose(a.sums[block], b.sums[block], rtol=1e-5, atol=1e-5)
    assert together.metrics == pytest.approx(one_by_one.metrics, rel=1e-6, abs=1e-6)


CONFIGURATIONS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 5),
        "model": st.fixed_dictionaries(
            {
                "sasrec_dropout": st.sampled_from([0.0, 0.2]),
                "moe_dropout": st.sampled_from([0.0, 0.3]),
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
                "disable_moe": st.sampled_from([False, False, True]),
            }
        ),
    }
)


@settings(max_examples=40)
@given(changes=CONFIGURATIONS, seed=st.integers(0, 99), text=st.booleans(), image=st.booleans(), prefs=st.booleans())
def test_a_chunk_is_the_sum_of_its_clients(changes, seed, text, image, prefs):
    config = tiny_config(**changes)
    assert takes_one_step(config)
    assert_same_sums(*both_ways(config, seed, text=text, image=image, preferences=prefs))


@pytest.mark.parametrize("loss", ["bpr", "sampled_softmax", "full_softmax"])
def test_a_chunk_is_the_sum_of_its_clients_with_everything_on(loss):
    config = tiny_config(
        model={"sasrec_dropout": 0.3, "moe_dropout": 0.3},
        training={"loss": loss, "weight_decay": 0.01},
        federated={"aggregation_method": "fedprox", "fedprox_mu": 1.0},
    )
    together, one_by_one = both_ways(config)
    assert together.metrics["contrastive_loss"] > 0
    assert together.metrics["memory_updates"] > 0
    assert together.metrics["memory_evictions"] > 0
    assert_same_sums(together, one_by_one)


def test_the_sums_would_notice_another_seed():
    together, _ = both_ways(tiny_config(seed=1))
    _, one_by_one = both_ways(tiny_config(seed=2))
    with pytest.raises(AssertionError):
        assert_same_sums(together, one_by_one)


def test_a_chunk_of_one_client_is_that_client():
    config = tiny_config(model={"sasrec_dropout": 0.3})
    alone, chunked = population(config, 0), population(config, 0)
    broadcast = broadcast_of(alone, 0)
    for user in alone.clients:
        one = CohortSum.of(alone.clients[user].participate(alone.model, broadcast))
        assert_same_sums(train_chunk([chunked.clients[user]], chunked.model, broadcast), one)


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
    assert not takes_one_step(tiny_config(**changes))
