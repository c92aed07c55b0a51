"""Shards: a chunk and a group that evaluates hold clients of one, and all clients take part in each."""

import itertools

import numpy as np
import pytest

from fedmem.federated.messages import Broadcast
from tests.tiny import noisy_parameters, population_of, tiny_config, tiny_snapshot, total


@pytest.fixture
def asked(monkeypatch):
    """The groups of users that a population of three shards asks, in their order."""
    population = population_of(tiny_snapshot(tiny_config(federated={"shards": 3, "chunk_size": 2})))
    groups: list[list[int]] = []

    def noted(what):
        answer = getattr(population.host, what)
        return lambda users, *rest: groups.append(users.tolist()) or answer(users, *rest)

    for what in ("train", "evaluate"):
        monkeypatch.setattr(population.host, what, noted(what))
    return population, groups


def test_chunks_are_of_one_shard_and_come_shard_by_shard_in_turn(asked):
    population, groups = asked
    users, lengths = population.dataset.trainable_users, population.dataset.training_lengths
    list(population.train(users, Broadcast(3, noisy_parameters(population))))
    assert sorted(itertools.chain(*groups)) == users.tolist()
    assert all(len({user % 3 for user in group}) == 1 for group in groups)
    assert [group[0] % 3 for group in groups] == [0, 1, 2, 0, 1, 2]
    assert all((np.diff(lengths[group]) <= 0).all() for group in groups)


def test_those_who_evaluate_together_are_of_one_shard(asked):
    population, groups = asked
    list(population.evaluate(Broadcast(3, noisy_parameters(population)), "validation"))
    assert [{user % 3 for user in group} for group in groups] == [{0}, {1}, {2}]
    assert sorted(itertools.chain(*groups)) == population.dataset.evaluated_users.tolist()


def test_shards_change_a_sum_in_its_last_bits_alone(asked):
    population, _ = asked
    whole = population_of(tiny_snapshot(tiny_config(federated={"chunk_size": 2})))
    broadcast = Broadcast(3, noisy_parameters(whole))
    found, expected = (total(one.train(one.dataset.trainable_users, broadcast)) for one in (population, whole))
    for name, delta in expected.delta.items():
        np.testing.assert_allclose(found.delta[name], delta, rtol=1e-4, atol=1e-5)
