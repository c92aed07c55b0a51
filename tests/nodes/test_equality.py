"""A run on nodes ends where the same run in one process ends: parameters, memories, transitions and metrics."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from fedmem.experiment import TrainingRun
from fedmem.nodes.letter import Letter
from tests.nodes.equal import assert_equal_runs


def test_five_rounds_on_three_nodes_equal_the_simulation(together, apart, courier, tmp_path):
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run,
    ):
        assert_equal_runs(simulated, run)


def test_nodes_hand_on_cells_where_a_sketch_is_asked_for_and_they_add_up_to_those_of_the_simulation(
    together, apart, courier, tmp_path
):
    sketch = {"transitions": together.config.transitions.model_copy(update={"sketch_bits": 7})}
    together, apart = (replace(each, config=each.config.model_copy(update=sketch)) for each in (together, apart))
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run,
    ):
        assert_equal_runs(simulated, run)
        assert run.server.state.transitions.pairs.shape == (3, 2**7)
    sent = [
        letter.arrays for _, content in courier.sent if "delta" in str((letter := Letter.from_bytes(content)).arrays)
    ]
    assert {len(arrays["transitions/row_ends"]) for arrays in sent} == {3 + 1}, "and no pairs cross"


def test_what_nodes_remember_equals_what_the_simulation_does(together, apart, courier, tmp_path):
    with (
        closing(TrainingRun.start(tmp_path / "simulated", together)) as simulated,
        closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run,
    ):
        for each in (simulated, run):
            list(each.rounds())
        expected = simulated.population.handed_on(5)
        found = [store.handed_on(np.arange(store.num_users), 5) for store in courier.stores(run.population.roster.run)]
        np.testing.assert_array_equal(np.concatenate(found), expected)
        assert expected.any()
        remembered = {user: one for some in simulated.population.memories(5) for user, one in some.items()}
        first = 0
        for store in courier.stores(run.population.roster.run):
            arrays = store.read(np.arange(store.num_users), 5)
            for user in range(store.num_users):
                here, there = arrays.entries(user), remembered.get(first + user)
                assert len(here) == (0 if there is None else len(there))
                if there is not None:
                    np.testing.assert_array_equal(here.items, there.items)
                    np.testing.assert_allclose(here.id_embedding, there.id_embedding, atol=1e-5)
            first += store.num_users
        assert remembered


def test_the_server_keeps_neither_users_nor_memories(apart, courier, tmp_path):
    with closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run:
        list(run.rounds())
    kept = b"".join(path.read_bytes() for path in (tmp_path / "nodes").rglob("*") if path.is_file())
    assert b"user-0" not in kept
    assert run.directory.read_dataset().num_users == 0
    assert not any(run.directory.checkpoints.read_memories(5))


def test_no_answer_names_a_user_or_holds_a_history(apart, courier, tmp_path):
    with closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run:
        list(run.rounds())
    assert len(courier.sent) > 3 * 5
    assert not any(b"user-0" in content for _, content in courier.sent)


@pytest.mark.parametrize(
    ("section", "changes", "named"),
    [
        ("data", {"cold_user_fraction": 0.1}, "data.cold_user_fraction"),
        ("federated", {"centralised_batch": 8}, "federated.centralised_batch"),
        ("privacy", {"weights_epsilon": 8}, "privacy.weights_epsilon"),
    ],
)
def test_what_nodes_cannot_do_is_refused_by_name(section, changes, named):
    from fedmem.errors import ConfigError
    from tests.tiny import tiny_config

    with pytest.raises(ConfigError, match=named):
        tiny_config(engine="flower", **{section: changes})


def test_a_node_sends_nothing_but_what_is_documented(apart, courier, tmp_path, project_root):
    with closing(TrainingRun.start(tmp_path / "nodes", apart, courier=courier)) as run:
        list(run.rounds())
    letters = [Letter.from_bytes(content) for _, content in courier.sent]
    arrays = {name.partition("/")[0] for letter in letters for name in letter.arrays}
    assert arrays == {"trainable", "delta", "transitions", "prototypes"}
    facts = {name for letter in letters for name in letter.facts}
    asked = {"node", "kind", "order", "round", "cpu_seconds", "ready", "users"}
    sums = {"weight", "clients", "num_rows", "metrics", "upload_bytes", "moments", "fused", "short"}
    assert facts == asked | sums
    told = (project_root / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert all(f"`{name}" in told for name in arrays | facts)
