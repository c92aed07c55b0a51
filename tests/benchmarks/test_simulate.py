"""The speed benchmarks: what is counted, and that every figure comes out. Nothing here asserts a time."""

import json

import pytest

from benchmarks.measure import interleaved, ratio
from benchmarks.simulate import AT_LEAST, GOALS, counted_gflop, is_met, simulate
from benchmarks.workload import generated_dataset, p1_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.features.store import ItemFeatures
from fedmem.federated.start import build_model
from tests.tiny import tiny_dataset


def test_the_workload_is_that_of_the_goal():
    dataset, config = generated_dataset(200, 3000), p1_config()
    lengths = [len(dataset.training_history(user)) for user in range(200)]
    assert (min(lengths), max(lengths)) == (60, 130)
    assert sum(lengths) / 200 == pytest.approx(95, abs=3)
    assert (config.federated.local_epochs, config.training.optimizer) == (4, "adam")
    model = build_model(config, 3000, ItemFeatures(3000))
    assert model.sasrec.item_embedding.shape == (3001, 64)
    assert model.retriever is None


def test_arithmetic_counted_by_hand():
    """Two items, D = 4, one block, N = 3, one step: two tokens in one segment of two."""
    config = p1_config(
        model={"sasrec_hidden_dim": 4, "sasrec_num_blocks": 1},
        training={"num_negatives": 3},
        federated={"local_epochs": 1},
    )
    dataset = FederatedDataset.from_sequences([[1, 2, 3, 4]], 9, min_sequence_length=3)
    matrices, attention, scores = 6 * 2 * 4 * 4, 2 * (2 * 2 * 4), 2 * 4 * (1 + 3)
    assert counted_gflop(config, dataset, [0], 0) == pytest.approx(3 * 2 * (matrices + attention + scores) / 1e9)


def test_sides_take_turns_and_the_first_turn_is_left_out():
    turns: list[str] = []
    seconds = interleaved({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, 3)
    assert turns == ["a", "b"] * 4
    assert [len(times) for times in seconds.values()] == [3, 3]
    assert ratio({"a": [4.0, 1.0, 9.0], "b": [2.0, 2.0, 1.0]}, "a", "b") == 2.0


@pytest.mark.parametrize(("name", "value", "met"), [("p1", 0.5, True), ("p1", 0.4, False), ("p4", 2.5, False)])
def test_goals_are_met_from_above_or_from_below(name, value, met):
    assert is_met(name, value) is met
    assert set(AT_LEAST) < set(GOALS)


def test_every_figure_comes_out(monkeypatch):
    monkeypatch.setattr("benchmarks.simulate.FEW_ITEMS", 40)
    monkeypatch.setattr("benchmarks.simulate.MANY_ITEMS", 80)
    monkeypatch.setattr("benchmarks.simulate.CLIENTS", 3)
    record = simulate(tiny_dataset(12), repetitions=1)
    assert all(record[name] > 0 for name in GOALS)
    assert json.loads(json.dumps(record)) == record
    assert record["data"] == "tiny"
