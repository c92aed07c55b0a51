"""FedMemClient: what it trains on, what it sends, what it keeps to itself."""

import dataclasses

import numpy as np
import pytest

from fedmem.federated.chunk_trainer import ChunkTrainer
from fedmem.federated.distributions import Counts
from fedmem.federated.local_steps import LocalSteps
from fedmem.federated.messages import Broadcast, ClientUpdate
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import initial_prototypes
from fedmem.federated.sums import Mean, Total
from fedmem.modality import Modality
from tests.tiny import client_of, noisy_parameters, numbers, population_of, tiny_config, tiny_dataset, tiny_snapshot

ID = Modality.SEQUENTIAL

LONG = tiny_dataset(6, shortest=20, longest=40)


def population(**changes) -> SimulatedPopulation:
    return population_of(tiny_snapshot(tiny_config(**changes), LONG), double=True)


def broadcast_of(found: SimulatedPopulation, round_number: int = 3) -> Broadcast:
    features = tiny_snapshot(found.config, LONG).features
    memory = (
        initial_prototypes(found.config.fedmem, found.config.seed, found.model, features)
        if found.config.uses_prototypes
        else None
    )
    return Broadcast(round_number, noisy_parameters(found), memory)


def update_of(user: int = 0, round_number: int = 3, **changes) -> ClientUpdate:
    found = population(**changes)
    return client_of(found, user).participate(found.host.trainer, broadcast_of(found, round_number))


def norm(update: ClientUpdate) -> float:
    return float(np.sqrt(sum(np.square(delta).sum() for delta in update.delta.values())))


def test_no_cluster_of_fewer_than_the_least_is_sent():
    """Alone, and in a chunk, whose clients send the same."""
    sizes = {least: update_of(fedmem={"minimum_cluster": least}).prototypes.mass.tolist() for least in (1, 3)}
    assert 0 < min(sizes[1]) < 3 <= max(sizes[1])
    assert sizes[3] == [size if size >= 3 else 0 for size in sizes[1]]
    found = population(fedmem={"minimum_cluster": 3})
    (together,) = found.train(np.array([0]), broadcast_of(found))
    assert together.prototypes.mass.tolist() == sizes[3]


SEVERAL_STEPS = {"training": {"batch_size": 4, "learning_rate": 0.05}}


def test_fedprox_pulls_towards_the_global_model():
    """The more so the larger mu; with one step from the global model it has nothing to pull at."""
    free = norm(update_of(**SEVERAL_STEPS))
    lengths = [
        norm(update_of(**SEVERAL_STEPS, federated={"aggregation_method": "fedprox", "fedprox_mu": mu}))
        for mu in (1e-9, 1.0, 10.0)
    ]
    assert lengths[0] == pytest.approx(free, rel=1e-6)
    assert lengths[0] > 1.1 * lengths[1] > 1.2 * lengths[2]


def test_fedprox_adds_mu_times_the_distance_to_the_gradient():
    """Two steps by hand: the second step's gradient differs by mu·(θ − θ_global), and θ − θ_global is the first."""
    mu, rate = 0.5, 0.01
    two_epochs = {"training": {"learning_rate": rate, "crop_probability": 0.0}, "model": {"sasrec_dropout": 0.0}}
    two_epochs["model"]["moe_dropout"] = 0.0
    one = update_of(**two_epochs)
    free = update_of(**two_epochs, federated={"local_epochs": 2})
    prox = update_of(**two_epochs, federated={"local_epochs": 2, "aggregation_method": "fedprox", "fedprox_mu": mu})
    for name in free.delta:
        np.testing.assert_allclose(prox.delta[name], free.delta[name] - rate * mu * one.delta[name], atol=1e-12)


def test_fedprox_changes_nothing_in_a_single_step():
    free, prox = update_of(), update_of(federated={"aggregation_method": "fedprox", "fedprox_mu": 100.0})
    for name in free.delta:
        np.testing.assert_array_equal(prox.delta[name], free.delta[name])


def test_a_step_of_rate_one_is_the_gradient():
    whole, half = update_of(training={"learning_rate": 1.0}), update_of(training={"learning_rate": 0.5})
    for name in whole.delta:
        np.testing.assert_allclose(half.delta[name], 0.5 * whole.delta[name], atol=1e-12)


def test_every_position_is_in_one_batch_of_an_epoch():
    found = population(training={"batch_size": 4}, federated={"local_epochs": 2})
    chunk = client_of(found, 0).chunk
    (steps,) = map(list, chunk.steps(LocalSteps.of(found.config), 3))
    n = len(chunk.data[0].history)
    assert [step.num_samples for step in steps] == 2 * [*[4] * (n // 4), *([n % 4] if n % 4 else [])]
    indices = [
        (step.start[:, None] + np.arange(step.chosen.shape[1]))[step.chosen] for step in steps[: len(steps) // 2]
    ]
    assert sorted(np.concatenate(indices).tolist()) == list(range(n))


def test_local_adam_is_another_path_than_sgd():
    adam = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 4}
    assert norm(update_of(training=adam)) != pytest.approx(norm(update_of(training=adam | {"optimizer": "sgd"})))
    assert norm(update_of(training=adam | {"beta1": 0.0})) != pytest.approx(norm(update_of(training=adam)))


def test_momentum_and_weight_decay_take_part():
    several = SEVERAL_STEPS["training"]
    assert norm(update_of(training=several | {"momentum": 0.9})) > 1.2 * norm(update_of(training=several))
    decayed, free = update_of(training={"weight_decay": 0.1}), update_of()
    parameters = noisy_parameters(population())
    for name, delta in decayed.delta.items():
        np.testing.assert_allclose(delta, free.delta[name] - 0.1 * parameters[name], atol=1e-12, err_msg=name)


def test_an_update_holds_no_item_of_the_history():
    """Its fields are numbers of samples, parameter deltas, prototypes and metric sums: nothing indexed by history."""
    update = update_of()
    assert {field.name for field in dataclasses.fields(update)} == {"num_samples", "delta", "prototypes", "metrics"}
    assert update.num_samples == len(LONG.training_history(0))
    assert update.delta.keys() == noisy_parameters(population()).keys()
    assert update.prototypes is not None
    assert len(update.prototypes.mass) == 3
    assert all(isinstance(value, Mean | Total | Counts) for value in update.metrics.values())


def test_an_upload_is_as_large_as_the_broadcast():
    found = population_of(tiny_snapshot(tiny_config(), LONG))
    broadcast = broadcast_of(found)
    assert client_of(found, 0).participate(found.host.trainer, broadcast).num_bytes() == broadcast.num_bytes()


def test_nothing_is_written_during_warm_up():
    for round_number, written in ((1, False), (2, True)):
        found = population(fedmem={"warmup_rounds": 2})
        client = client_of(found, 0)
        update = client.participate(found.host.trainer, broadcast_of(found, round_number))
        assert bool(update.metrics["memory_updates"].value) is written
        assert bool(len(client.memory)) is written


@pytest.mark.parametrize("policy", ["last", "random"])
def test_control_policies_fill_the_memory(policy):
    found = population(fedmem={"memory_policy": policy, "surprise_threshold": 1000.0})
    client = client_of(found, 0)
    client.participate(found.host.trainer, broadcast_of(found))
    index = client.memory.entries().index.tolist()
    n = int(client.chunk.samples[0])
    assert 0 < len(index) <= 6
    assert (index == list(range(n - len(index), n))) is (policy == "last")


def test_no_memory_writes_and_sends_nothing():
    update = update_of(ablation={"disable_memory": True})
    assert update.prototypes is None
    assert not [name for name in update.metrics if "memory" in name or "surprise" in name]


def test_a_released_client_holds_no_model():
    found = population()
    client = client_of(found, 0)
    client.participate(found.host.trainer, broadcast_of(found))
    with pytest.raises(AssertionError, match="receive_model"):
        client.train_local_model()
    with pytest.raises(AssertionError, match="train_local_model"):
        client.get_model_parameters()


def test_what_a_client_does_step_by_step_is_what_it_sends():
    """By the original's names."""
    whole, found = update_of(), population()
    client = client_of(found, 0)
    client.receive_model(found.host.trainer, broadcast_of(found))
    assert numbers(client.train_local_model()) == numbers(whole.metrics)
    for name, delta in client.get_model_parameters().items():
        np.testing.assert_array_equal(delta, whole.delta[name])
    np.testing.assert_array_equal(client.get_memory_prototypes().sums[ID], whole.prototypes.sums[ID])
    client.release_model()
    assert len(client.memory) > 0


def test_a_round_is_a_function_of_seed_round_and_client():
    def delta(seed: int, round_number: int) -> bytes:
        found = population(training={"loss": "bpr"})
        trainer = ChunkTrainer(found.config.model_copy(update={"seed": seed}), found.model, found.host.trainer.features)
        update = client_of(found, 0).participate(trainer, broadcast_of(found, round_number))
        return update.delta["sasrec.item_embedding"].tobytes()

    assert delta(1, 3) == delta(1, 3)
    assert len({delta(1, 3), delta(2, 3), delta(1, 4)}) == 3
