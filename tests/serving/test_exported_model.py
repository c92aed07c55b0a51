"""A model by itself: it answers histories as before, and holds nothing of a user."""

import json
from contextlib import closing

import pytest

from fedmem.checkpoint import RunDirectory
from fedmem.checkpoint.transition_files import FILE
from fedmem.errors import CheckpointError
from fedmem.experiment import TrainingRun
from fedmem.serving import NodeModel, Question, Recommender, export_model
from tests.nodes.conftest import SHARDS
from tests.nodes.runs import name_of, write_runs
from tests.tiny import tiny_config, tiny_snapshot, trained


def listed(found) -> list[tuple[str, float]]:
    return [(one.item.item_id, pytest.approx(one.score, abs=1e-6)) for one in found.items]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    trained(folder, tiny_snapshot(tiny_config(federated={"num_rounds": 3, "client_fraction": 0.9})))
    return folder


def test_it_answers_histories_as_the_run_does_and_knows_no_user(run, tmp_path):
    best = RunDirectory(run).read_record().best
    export_model(run, best, tmp_path / "model")
    before, after = Recommender.load(run), Recommender.load(tmp_path / "model")
    assert after.dataset.num_users == 0
    assert after.trained.round == best
    history = [before.dataset.vocabulary.item_id(item) for item in before.dataset.history(3).tolist()]
    for question in (Question(history=history), Question(history=history[:1]), Question("unknown")):
        assert [(one.item.item_id, one.score) for one in after.answer(question).items] == listed(
            before.answer(question)
        )


def test_nothing_of_a_user_is_in_its_files(run, tmp_path):
    export_model(run, RunDirectory(run).read_record().best, tmp_path / "model")
    directory = RunDirectory(tmp_path / "model")
    dataset, best = directory.read_dataset(), directory.read_record().best
    assert (len(dataset.vocabulary.users), len(dataset.sequence), len(dataset.cold_users)) == (0, 0, 0)
    assert not any(directory.checkpoints.read_memories(best))
    assert len(directory.checkpoints.read_handed_on(best)) == 0
    written = {path.relative_to(directory.path).as_posix() for path in directory.path.rglob("*") if path.is_file()}
    checkpoint = {f"rounds/{best:06d}/{name}" for name in ("server.json", "server.safetensors", FILE)}
    whole = {
        "manifest.json",
        "run.json",
        "metrics.jsonl",
        "dataset.json",
        "dataset.safetensors",
        "features.safetensors",
    }
    assert written == whole | checkpoint, "nor is there a file that is not known to hold no user"
    assert any(RunDirectory(run).checkpoints.read_memories(RunDirectory(run).read_record().best))
    assert directory.read_snapshot().user_features.preference is None


def test_exact_counts_behind_a_budget_stay_where_they_are(tmp_path):
    config = tiny_config(
        federated={"num_rounds": 6, "client_fraction": 0.9}, privacy={"transitions_epsilon": 8.0, "delta": 1e-3}
    )
    with closing(TrainingRun.start(tmp_path / "run", tiny_snapshot(config, preferences=False))) as training:
        list(training.rounds())
        state = training.server.state
    assert state.released is not None
    assert state.transitions.pairs.nnz
    export_model(tmp_path / "run", state.round, tmp_path / "model")
    found = RunDirectory(tmp_path / "model").checkpoints.read_server(state.round)
    assert found.transitions.pairs.nnz == 0
    assert (found.released.pairs != state.released.pairs).nnz == 0


def test_a_nodes_owner_serves_its_users_with_it(tmp_path):
    world = write_runs(tmp_path)
    export_model(world / "run", RunDirectory(world / "run").read_record().best, world / "model")
    told = json.loads((world / "model" / "nodes.json").read_text(encoding="utf-8"))
    assert (told.keys(), told["nodes"], told["counted"]) == ({"run", "nodes", "counted"}, {}, {})
    whole, found = (
        NodeModel.load(world / name, world / "berlin.csv", world / "berlin").recommender for name in ("run", "model")
    )
    for user in SHARDS["berlin"]:
        assert [(x.item.item_id, x.score) for x in found.recommend(name_of(user)).items] == listed(
            whole.recommend(name_of(user))
        )


def test_a_folder_that_is_taken_and_a_round_that_is_gone_are_refused(run, tmp_path):
    best = RunDirectory(run).read_record().best
    export_model(run, best, tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds a run already"):
        export_model(run, best, tmp_path / "model")
    with pytest.raises(CheckpointError, match="cannot be read"):
        export_model(run, 77, tmp_path / "another")
    assert not (tmp_path / "another").exists()
