"""Figures of the engines' comparison, and what it gives nodes; nothing is trained."""

from contextlib import ExitStack

from benchmarks.engines import PEER, figures, free_port, here, turns, write_users
from fedmem.data.formats import load_dataset
from tests.tiny import tiny_dataset


def test_a_ratio_is_that_of_the_medians_to_one_process():
    found = figures({PEER: [2.0, 4.0, 3.0], "ray, 2": [1.0, 9.0, 1.5]})
    assert found[PEER]["ratio"] == 1
    assert (found["ray, 2"]["ratio"], found["ray, 2"]["rounds_per_minute"]) == (2.0, 40.0)


def test_sides_take_turns_and_the_first_turn_is_left_out():
    done = []
    seconds = turns({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, 2)
    assert done == ["a", "b"] * 3
    assert {name: len(found) for name, found in seconds.items()} == {"a": 2, "b": 2}


def test_a_side_trains_the_clients_of_the_data():
    with ExitStack() as stack:
        server = here(tiny_dataset(), stack)
        assert server.run_round().metrics["clients"] == len(server.select_clients())


def test_a_node_reads_its_users_from_its_file(tmp_path):
    dataset = tiny_dataset()
    write_users(dataset, [3, 5], tmp_path / "users.csv")
    found = load_dataset(tmp_path / "users.csv")
    assert sorted(found.vocabulary.users) == [dataset.vocabulary.user_id(user) for user in (3, 5)]
    assert len(found.sequence) == len(dataset.history(3)) + len(dataset.history(5))
    assert free_port() > 0
