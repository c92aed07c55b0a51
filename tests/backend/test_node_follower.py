"""A node's model follows its files: what they hold now is answered from, and what cannot be read changes nothing."""

import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from backend.app import create_app
from backend.node_follower import NodeFollower
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from backend.settings import Settings
from fedmem.serving import NodeModel
from tests.nodes.runs import history_of, name_of, write_runs
from tests.waiting import until

USER, ANOTHER = 4, "user-newcomer"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return write_runs(tmp_path_factory.mktemp("nodes"))


@pytest.fixture
def files(world, tmp_path) -> Path:
    """A copy of the model and berlin's data, which a test may change."""
    shutil.copytree(world / "run", tmp_path / "model")
    shutil.copy(world / "berlin.csv", tmp_path / "berlin.csv")
    return tmp_path


@pytest.fixture
def node(files) -> NodeFollower:
    def read() -> ServedModel:
        found = NodeModel.load(files / "model", files / "berlin.csv")
        return ServedModel.of_run(found.recommender, found.since)

    return NodeFollower.begun(read, [files / "model", files / "berlin.csv"])


def append(files: Path, user_id: str, *items: str) -> None:
    with (files / "berlin.csv").open("a") as file:
        file.writelines(f"{user_id},{item}\n" for item in items)


def looked(node: NodeFollower, times: int = 2) -> ServedModel:
    """The model after so many looks."""
    served = ServedModels.of_run(node.model)
    for _ in range(times):
        node.look(served)
    return served.of()


def test_what_is_added_is_read_once_it_stays_as_it_is(node, files):
    before = looked(node)
    append(files, ANOTHER, *history_of(USER))
    assert looked(node, 1) is before, "who writes may not be done"
    append(files, ANOTHER, "1")
    assert looked(node, 1) is before
    after = looked(node, 1)
    assert ANOTHER in after.new_interactions.users
    assert looked(node, 3) is after, "nothing has changed since"


def test_what_cannot_be_read_leaves_the_model_before_until_it_can_be(node, files, caplog):
    before, whole = looked(node), (files / "berlin.csv").read_text()
    (files / "berlin.csv").write_text("neither,of\nthese,columns\n")
    assert looked(node, 4) is before
    assert caplog.text.count("cannot be read; the model before goes on") == 1
    (files / "berlin.csv").unlink()
    assert looked(node, 4) is before
    (files / "berlin.csv").write_text(whole + f"{ANOTHER},1\n{ANOTHER},2\n{ANOTHER},3\n")
    assert ANOTHER in looked(node).new_interactions.users


def test_another_round_of_the_model_is_served(node, files, world):
    before = looked(node)
    record = files / "model" / "run.json"
    best = before.recommender.trained.round
    other = next(each for each in (2, 5) if each != best)
    record.write_text(record.read_text().replace(f'"best": {best}', f'"best": {other}'))
    after = looked(node)
    assert after.version != before.version
    assert after.version.endswith(f"{other:06d}")


def test_the_api_answers_from_what_the_file_holds_now(node, files):
    settings = Settings.load(refresh_seconds=0.05)
    with TestClient(create_app(settings, node), base_url="http://127.0.0.1") as client:
        path = f"/recommend/{ANOTHER}?strict=true"
        assert client.get(f"/recommend/{name_of(USER)}?strict=true").status_code == 200
        assert client.get(path).status_code == 404
        append(files, ANOTHER, *history_of(USER))
        until(lambda: client.get(path).status_code == 200, "the new user")
