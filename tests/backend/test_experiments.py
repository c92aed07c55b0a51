"""Experiments over HTTP: the list, one of them, and who may see them."""

from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.contracts import Experiment, ExperimentPage
from tests.backend.conftest import problem
from tests.example_experiments import ABLATION, STUDY, write_experiment


def test_they_are_listed_and_one_shows_what_it_holds(client, world):
    assert ExperimentPage.model_validate(client.get("/experiments").json()).experiments == ()
    write_experiment(world.data_dir, "ladder", "ablation.json", ABLATION)
    write_experiment(world.data_dir, "the search", "study.json", STUDY)
    page = ExperimentPage.model_validate(client.get("/experiments").raise_for_status().json())
    assert {one.name: one.kind for one in page.experiments} == {"ladder": "ablation", "the search": "tuning"}
    ladder = Experiment.model_validate(client.get("/experiments/ladder").raise_for_status().json())
    assert ladder.ablation.models[-1].name == "FedMem-Full"
    search = Experiment.model_validate(client.get("/experiments/the%20search").raise_for_status().json())
    assert search.tuning.planned == 6


def test_an_unknown_one_is_a_404_and_a_damaged_one_is_shown_as_such(client, world):
    assert "GET /experiments lists" in problem(client.get("/experiments/nothing"), 404).detail
    problem(client.get("/experiments/..%2Fjobs"), 404)
    write_experiment(world.data_dir, "ladder", "ablation.json", [])
    shown = Experiment.model_validate(client.get("/experiments/ladder").raise_for_status().json())
    assert (shown.state, shown.ablation) == ("damaged", None)


def test_a_folder_that_cannot_be_read_is_a_503(client, world):
    (world.data_dir / "experiments").write_text("", encoding="utf-8")
    assert "cannot be read" in problem(client.get("/experiments"), 503).detail


def test_they_are_read_like_jobs_and_models(settings):
    with TestClient(create_app(settings(read_key="r", api_key="w"))) as client:
        for path in ("/experiments", "/experiments/ladder"):
            problem(client.get(path), 401)
            assert client.get(path, headers={"X-API-Key": "r"}).status_code in (200, 404)
