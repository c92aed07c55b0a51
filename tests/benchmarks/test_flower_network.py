"""Figures of rounds between hosts; nothing is trained."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.flower.over_network import NODES, ROUNDS, Measured, same, shards
from fedmem.federated.start import build_model, initial_state
from fedmem.memory.transitions import TransitionCounts
from tests.tiny import tiny_snapshot


def test_a_runs_figures_leave_out_its_first_and_last_round():
    counted = [{"metrics": {"nodes_missing": float(number == 3), "nodes_refused": 0.0}} for number in range(ROUNDS)]
    seconds = [100.0, *[2.0] * (ROUNDS - 2), 100.0]
    found = Measured(seconds, 8 * ROUNDS, 16 * ROUNDS, 3, counted).record()
    assert (found["median_round_seconds"], found["bytes_up_a_round"], found["bytes_down_a_round"]) == (2.0, 8, 16)
    assert (found["packets_lost"], found["nodes_missing"], found["nodes_refused"]) == (3, 1.0, 0.0)


@pytest.fixture
def state():
    snapshot = tiny_snapshot()
    model = build_model(snapshot.config, snapshot.dataset.num_items, snapshot.features)
    counts = TransitionCounts.of([np.array([1, 2, 3], np.int32)], snapshot.dataset.num_items, 3)
    return replace(initial_state(snapshot.config, model, snapshot.features), transitions=counts)


def test_models_are_the_same_if_weights_and_transitions_are(state):
    moved = {name: value + 1e-3 for name, value in state.parameters.items()}
    assert same([state, replace(state)])
    assert not same([state, state, replace(state, parameters=moved)])
    twice = state.transitions + state.transitions
    assert not same([state, replace(state, transitions=twice)])


def test_each_user_is_at_one_node(tmp_path):
    rows = pd.DataFrame({"user_id": list("aabbccddee"), "item_id": list("1234567890")})
    rows.to_csv(tmp_path / "interactions.csv", index=False)
    shards(tmp_path, tmp_path)
    found = [set(pd.read_csv(tmp_path / f"{name}.csv")["user_id"]) for name in NODES]
    assert [sorted(users) for users in found] == [["a", "d"], ["b", "e"], ["c"]]
