"""A run's model for one node's own users: as the simulation answers them, or as the centre does histories."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fedmem.errors import CheckpointError, ConfigError
from fedmem.serving import NodeModel, Question, Recommender
from tests.nodes.conftest import SHARDS
from tests.nodes.runs import history_of, name_of, write_runs

BERLIN = SHARDS["berlin"]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return write_runs(tmp_path_factory.mktemp("nodes"))


def answer(model: NodeModel, user_id: str) -> list[tuple[str, float]]:
    """As the API asks: what the model knows of a user, and what came since."""
    found = model.recommender.answer(Question(user_id, since=model.since.get(user_id, ())))
    return [(one.item.item_id, one.score) for one in found.items]


def listed(found) -> list[tuple[str, float]]:
    return [(one.item.item_id, pytest.approx(one.score, abs=1e-5)) for one in found.items]


def test_with_its_store_a_nodes_users_are_answered_as_by_the_simulation(world):
    simulated, remembered = Recommender.load(world / "simulated"), 0
    for node, users in SHARDS.items():
        found = NodeModel.load(world / "run", world / f"{node}.csv", world / node)
        assert found.since == {name_of(user): [] for user in users}
        for user in users:
            expected = simulated.recommend(simulated.dataset.vocabulary.user_id(user))
            assert answer(found, name_of(user)) == listed(expected)
            assert (user in simulated.trained.memories) == (user - users.start in found.recommender.trained.memories)
            remembered += user in simulated.trained.memories
    assert remembered, "some of them remember something"


def test_without_its_store_they_are_answered_as_their_histories_are_at_the_centre(world):
    centre = Recommender.load(world / "run")
    found = NodeModel.load(world / "run", world / "berlin.csv")
    assert found.recommender.dataset.num_users == 0
    for user in BERLIN:
        expected = centre.answer(Question(history=history_of(user)))
        assert answer(found, name_of(user)) == listed(expected)


def changed(world: Path, folder: Path, rows: pd.DataFrame) -> NodeModel:
    """Berlin's model, when these are its rows."""
    rows.to_csv(folder / "berlin.csv", index=False)
    return NodeModel.load(world / "run", folder / "berlin.csv", world / "berlin")


def test_what_the_file_has_beyond_the_run_counts_at_once(world, tmp_path):
    rows = pd.read_csv(world / "berlin.csv", dtype=str)
    more = pd.DataFrame({"user_id": ["user-04", "new", "new"], "item_id": ["7", "3", "5"]})
    found = changed(world, tmp_path, pd.concat([rows, more]))
    assert {user: items for user, items in found.since.items() if items} == {"user-04": ["7"], "new": ["3", "5"]}
    simulated = Recommender.load(world / "simulated")
    question = Question(simulated.dataset.vocabulary.user_id(4), since=["7"])
    assert answer(found, "user-04") == listed(simulated.answer(question))
    assert answer(found, "new") == listed(Recommender.load(world / "run").answer(Question(history=["3", "5"])))


def test_who_is_no_longer_in_the_file_is_unknown_and_who_did_otherwise_is_read_anew(world, tmp_path):
    rows = pd.read_csv(world / "berlin.csv", dtype=str)
    left = rows[(rows.user_id != "user-04")].drop(rows[rows.user_id == "user-05"].index[0])
    found = changed(world, tmp_path, left)
    assert found.recommender.user_index("user-04") is None
    assert answer(found, "user-04") == answer(found, "a stranger")
    assert found.recommender.user_index("user-05") is None
    assert found.since["user-05"] == history_of(5)[1:]
    assert found.recommender.user_index("user-06") is not None


def test_a_run_that_holds_users_is_refused(world):
    with pytest.raises(ConfigError, match="holds users of its own"):
        NodeModel.load(world / "simulated", world / "berlin.csv")


def test_the_store_of_another_node_or_a_copy_without_the_runs_name_is_refused(world, tmp_path):
    with pytest.raises(CheckpointError, match=r"was not set up here.*was nodes.json copied"):
        NodeModel.load(world / "run", world / "berlin.csv", tmp_path / "empty")
    shutil.copytree(world / "run", tmp_path / "run", ignore=shutil.ignore_patterns("nodes.json"))
    with pytest.raises(CheckpointError, match="was not set up here"):
        NodeModel.load(tmp_path / "run", world / "berlin.csv", world / "berlin")
    assert not (tmp_path / "empty").exists()
