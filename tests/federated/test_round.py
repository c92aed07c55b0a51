"""A round is a function: the same state and clients give the same state and report, and nothing given is changed."""

import copy

import numpy as np
import pytest

from fedmem.federated.round import after_validation, run_round
from fedmem.federated.start import initial_state
from fedmem.federated.state import ServerState
from tests.tiny import memories_of, population_of, tiny_config, tiny_snapshot

SNAPSHOT = tiny_snapshot(tiny_config(evaluation={"eval_every": 1}))
CLIENTS = SNAPSHOT.dataset.trainable_users


@pytest.fixture
def population():
    return population_of(SNAPSHOT)


def started(population) -> ServerState:
    """After two rounds, so that there are memories."""
    state = initial_state(SNAPSHOT.config, population.model, SNAPSHOT.features)
    for _ in range(2):
        state, _ = run_round(SNAPSHOT.config, CLIENTS, state, population)
    return state


def assert_same(a: ServerState, b: ServerState) -> None:
    assert (a.round, a.best_round, a.best_metric, a.stale) == (b.round, b.best_round, b.best_metric, b.stale)
    for name in ("parameters", "averaged"):
        first, second = getattr(a, name), getattr(b, name)
        assert all(np.array_equal(first[key], second[key]) for key in first)
    for block, values in a.global_memory.sums.items():
        assert np.array_equal(values, b.global_memory.sums[block])


def test_the_state_that_is_given_stays_as_it_was(population):
    state = started(population)
    before = copy.deepcopy(state)
    after, report = run_round(SNAPSHOT.config, CLIENTS, state, population)
    assert_same(state, before)
    assert after.round == report.round == 3
    assert any(not np.array_equal(after.parameters[name], state.parameters[name]) for name in state.parameters)


def test_a_round_that_is_run_again_gives_the_same(population):
    state = started(population)
    first, report = run_round(SNAPSHOT.config, CLIENTS, state, population)
    memories = memories_of(population, 3)
    again, second = run_round(SNAPSHOT.config, CLIENTS, state, population)
    assert_same(first, again)
    assert report.metrics == second.metrics
    assert report.validation.values == second.validation.values
    for user, entries in memories_of(population, 3).items():
        assert all(np.array_equal(getattr(memories[user], name), values) for name, values in vars(entries).items())


def test_a_validation_is_a_new_best_only_if_it_is_better(population):
    state = initial_state(SNAPSHOT.config, population.model, SNAPSHOT.features)
    best = after_validation(state, 0.25)
    assert (best.best_metric, best.stale) == (0.25, 0)
    assert (after_validation(best, 0.25).stale, after_validation(best, 0.26).stale) == (1, 0)
