"""The population of one process: chunks, evaluation, and the start of a run."""

import numpy as np
import pytest

from fedmem.errors import ConfigError
from fedmem.federated.messages import Broadcast
from fedmem.federated.start import build_model, initial_prototypes, initial_state
from fedmem.modality import Modality
from tests.tiny import (
    memories_of,
    noisy_parameters,
    population_of,
    tiny_config,
    tiny_dataset,
    tiny_features,
    tiny_snapshot,
    total,
)

TEXT, IMAGE, ID = Modality.TEXT, Modality.VISUAL, Modality.SEQUENTIAL


def broadcast_of(population, features=None):
    features = tiny_features() if features is None else features
    return Broadcast(
        2,
        noisy_parameters(population),
        initial_prototypes(population.config.fedmem, population.config.seed, population.model, features),
    )


def test_a_chunk_is_a_unit_of_work_and_not_of_meaning():
    """Chunks of 1, 5 and all give the same sums in float64."""
    found = []
    for size in (1, 5, 100):
        population = population_of(tiny_snapshot(tiny_config(federated={"chunk_size": size})), double=True)
        found.append(total(population.train(np.arange(12), broadcast_of(population))))
    for other in found[1:]:
        assert other.clients == found[0].clients == 12
        for name, delta in other.delta.items():
            np.testing.assert_allclose(delta, found[0].delta[name], atol=1e-10, err_msg=name)


def test_the_order_of_a_cohort_is_no_matter():
    sums = []
    for users in ([3, 1, 7, 5], [7, 5, 3, 1]):
        population = population_of(tiny_snapshot())
        sums.append(total(population.train(np.array(users), broadcast_of(population))))
    assert all(np.array_equal(sums[0].delta[name], sums[1].delta[name]) for name in sums[0].delta)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluation_changes_nothing(split):
    population = population_of(tiny_snapshot())
    broadcast = broadcast_of(population)
    total(population.train(np.arange(12), broadcast))
    before = {name: p.detach().clone() for name, p in population.model.named_parameters()}
    memories = memories_of(population, 3)
    assert memories
    first = list(population.evaluate(broadcast, split))
    assert list(population.evaluate(broadcast, split)) == first
    assert all(np.array_equal(p.detach(), before[name]) for name, p in population.model.named_parameters())
    after = memories_of(population, 3)
    assert after.keys() == memories.keys()
    assert all(np.array_equal(after[user].frequency, memories[user].frequency) for user in after)


def test_only_trainable_users_are_clients():
    dataset = tiny_dataset(8, shortest=3, longest=6)
    population = population_of(tiny_snapshot(dataset=dataset))
    assert 0 < len(dataset.trainable_users) < 8
    assert total(population.evaluate(broadcast_of(population), "test")).count == len(dataset.trainable_users)


def test_restored_memories_replace_all_others():
    population = population_of(tiny_snapshot())
    total(population.train(np.arange(12), broadcast_of(population)))
    kept = memories_of(population, 3)[3]
    population.restore_memories([{3: kept}], 5)
    (only,) = memories_of(population, 5).items()
    assert only[0] == 3
    assert len(only[1]) == len(kept) > 0


def test_the_first_prototypes_are_of_the_catalogue_alone():
    """One member's mass each, drawn from the seed, the same whoever the users are."""
    config, features = tiny_config(), tiny_features()
    model = build_model(config, 30, features)
    found = initial_prototypes(config.fedmem, config.seed, model, features)
    assert found.blocks == (TEXT, IMAGE, ID)
    assert found.mass.tolist() == [1, 1, 1]
    other_seed = initial_prototypes(config.fedmem, 5, model, features)
    assert np.array_equal(found.sums[TEXT], initial_prototypes(config.fedmem, config.seed, model, features).sums[TEXT])
    assert not np.array_equal(found.sums[TEXT], other_seed.sums[TEXT])


def test_a_run_starts_from_its_seed():
    def start(seed: int) -> bytes:
        config = tiny_config(seed=seed)
        state = initial_state(config, build_model(config, 30, tiny_features()), tiny_features())
        assert state.round == state.optimizer.step == 0
        return b"".join(value.tobytes() for value in state.parameters.values())

    assert start(1) == start(1)
    assert start(1) != start(2)


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_one_clear_error(device):
    with pytest.raises(ConfigError, match=rf"device = '{device}'.*choose cpu"):
        build_model(tiny_config(device=device), 5, tiny_features(5))
