"""The simulation of a million users, with few of them."""

import numpy as np

from benchmarks.million import ROUNDS, generated, measured, remembered


def test_all_phases_run_and_every_user_has_a_memory(tmp_path):
    found = measured(tmp_path, users=400, items=60)
    assert [each["phase"] for each in found["phases"]][:3] == [
        "data set",
        "model and clients",
        "memories and counts of all users",
    ]
    assert len(found["clients_of_a_round"]) == ROUNDS
    assert (found["users_with_memory"], found["users_who_ranked"]) == (400, 400)
    before, after = found["transitions"]
    assert 0 < before <= after


def test_a_memory_holds_the_newest_of_what_was_handed_on():
    dataset = generated(20, 30)
    handed_on = dataset.training_lengths - 1
    rows = np.random.default_rng(0).random((31, 4), np.float32)
    ((memories),) = remembered(dataset, {"sasrec.item_embedding": rows}, 5, handed_on)
    for user, memory in memories.items():
        history = dataset.training_history(user)[: handed_on[user]].tolist()
        assert memory.items.tolist() == list(dict.fromkeys(history[::-1]))[:5][::-1]
        assert [history[index] for index in memory.index] == memory.items.tolist()
        assert memory.frequency.tolist() == [history.count(item) for item in memory.items]
        np.testing.assert_array_equal(memory.id_embedding, rows[memory.items])
