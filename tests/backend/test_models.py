"""Model versions: in service by one reference, swapped after a check, refused where broken."""

import os
import shutil
import sqlite3
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from backend.app import create_app
from backend.model_loader import NICENESS, check
from fedmem.checkpoint import RunDirectory
from fedmem.checkpoint.atomic_files import read_arrays, read_json, write_arrays, write_json
from fedmem.contracts import ModelHistory, ModelPage
from fedmem.errors import CheckpointError
from fedmem.serving import Recommender, new_items
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore, RoundResult
from fedmem.storage.models import ModelStore
from tests.backend.conftest import ITEMS, World, problem, settings_of, wait_for_model
from tests.backend.test_items import Encoder
from tests.waiting import until


def another_model(world: World, *, activate: bool, kind: str = "training") -> str:
    """A second job that left the same checkpoint, but for its parameters; the model's version."""
    engine = connect(world.url)
    jobs = JobStore(engine)
    first = jobs.get(1)
    best = RunDirectory(world.data_dir / "jobs" / "1").read_record().best
    job, _ = jobs.create(kind=kind, dataset="tiny", config=first.config, num_rounds=best)
    shutil.copytree(world.data_dir / "jobs" / "1", world.data_dir / "jobs" / str(job.id))
    perturb(world, job.id)
    _, lease = jobs.claim("trainer", 600, 3)
    jobs.begin(lease, snapshot_digest=first.snapshot_digest, last_interaction_id=first.last_interaction_id)
    for number in range(1, best + 1):
        jobs.commit_round(lease, RoundResult(number, number == best, f"{number:06d}", {}, None))
    jobs.finish(lease, "succeeded", model_round=best, activate=activate)
    engine.dispose()
    return f"job-{job.id}-round-{best}"


def perturb(world: World, job: int) -> None:
    """Give a job's checkpoints other parameters, so that its answers are told apart from those of the first."""
    rng = np.random.default_rng(job)
    for path in sorted((world.data_dir / "jobs" / str(job) / "rounds").glob("*/server.safetensors")):
        arrays = read_arrays(path)
        for name in sorted(name for name in arrays if name.startswith("averaged")):
            arrays[name] = arrays[name] + rng.normal(0, 0.3, arrays[name].shape).astype(arrays[name].dtype)
        write_arrays(path, arrays)


def loaded(world: World, model: str) -> Recommender:
    """A version, beside the application's own."""
    _, job, _, number = model.split("-")
    return Recommender.load(world.data_dir / "jobs" / job, int(number), model).with_held_out()


def answered(items: list[dict]) -> list[tuple[str, float]]:
    return [(item["item_id"], item["score"]) for item in items]


def expected_of(recommender: Recommender, user: str, k: int) -> list[tuple[str, float]]:
    return [(scored.item.item_id, scored.score) for scored in recommender.recommend(user, k).items]


def spoil(world: World, job: int) -> None:
    """Break every checkpoint of a job."""
    for path in (world.data_dir / "jobs" / str(job) / "rounds").glob("*/server.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])


def version(client: TestClient) -> str:
    return client.get("/recommend/u01").json()["model_version"]


def until_served(client: TestClient, wanted: str) -> None:
    until(lambda: version(client) == wanted, f"{wanted} in service")


def test_models_and_the_one_in_service(served, recommender):
    page = ModelPage.model_validate(served.get("/models").json())
    (model,) = page.models
    assert page.serving == model.version == recommender.model_version == version(served)
    assert (model.active, model.kept, model.refused, model.dataset) == (True, True, None, "tiny")
    assert model.metrics["test"]["HR@10"] == 0.5


def test_a_finished_training_job_is_in_service_by_itself(served, served_world):
    until_served(served, another_model(served_world, activate=True))


def test_an_experiment_is_not(served, served_world, recommender):
    left = another_model(served_world, activate=False, kind="experiment")
    wait_for_model(served)
    assert version(served) == recommender.model_version
    assert served.get("/models").json()["models"][0]["version"] == left


def test_activation_and_rollback_are_done_when_they_answer(served, served_world, recommender):
    left = another_model(served_world, activate=False, kind="experiment")
    for wanted in (left, recommender.model_version, left):
        response = served.post(f"/models/{wanted}/activate")
        assert (response.status_code, response.json()["version"], response.json()["active"]) == (200, wanted, True)
        assert version(served) == wanted
        assert served.get("/models").json()["serving"] == wanted
    problem(served.post("/models/job-9-round-9/activate"), 404)


def test_rollbacks_go_to_what_served_before_and_the_history_says_when(served, served_world, recommender):
    first, second = recommender.model_version, another_model(served_world, activate=False)
    problem(served.post("/models/rollback"), 409)
    ready = served.get("/models").json()["models"][0]
    assert (ready["version"], ready["state"], ready["waits"]) == (second, "ready", None)
    served.post(f"/models/{second}/activate").raise_for_status()
    back = served.post("/models/rollback").raise_for_status().json()
    assert (back["version"], back["state"], version(served)) == (first, "in_service", first)
    assert [model["state"] for model in served.get("/models").json()["models"]] == ["replaced", "in_service"]
    history = ModelHistory.model_validate(served.get("/models/history?dataset=tiny").json()).activations
    assert "tiny" in problem(served.get("/models/history?dataset=nowhere"), 404).detail
    assert [(one.version, one.reason) for one in history] == [
        (first, f"rolled back from {second}"),
        (second, "asked for by HTTP"),
        (first, "job 1 succeeded"),
    ]
    assert history[0].until is None
    assert history[1].until == history[0].since
    problem(served.post("/models/rollback?dataset=other"), 409)
    assert version(served) == first


def test_a_rollback_to_what_cannot_be_served_changes_nothing(served, served_world):
    second = another_model(served_world, activate=False)
    served.post(f"/models/{second}/activate").raise_for_status()
    spoil(served_world, 1)
    keeper = served.app.state.services.keeper
    keeper.served._models = {second: keeper.served.loaded("tiny")}  # as after a restart
    detail = problem(served.post("/models/rollback"), 409).detail
    assert "job-1-round-" in detail
    assert "no model that is kept served" in detail
    assert version(served) == second
    assert len(served.get("/models/history").json()["activations"]) == 2


def test_a_rollback_goes_past_what_cannot_be_served_and_says_so(served, served_world, recommender):
    second, third = (another_model(served_world, activate=False) for _ in range(2))
    for each in (second, third):
        served.post(f"/models/{each}/activate").raise_for_status()
    keeper = served.app.state.services.keeper
    keeper.served._models = {third: keeper.served.loaded("tiny")}  # as after a restart
    shutil.rmtree(served_world.data_dir / "jobs" / "2")
    assert served.post("/models/rollback").raise_for_status().json()["version"] == recommender.model_version
    assert version(served) == recommender.model_version
    reason = served.get("/models/history").json()["activations"][0]["reason"]
    assert reason == f"rolled back from {third}, past {second}, which cannot be served"
    problem(served.post("/models/rollback"), 409)


def test_a_first_model_that_waits_is_named_where_nothing_serves(served_world, recommender):
    with sqlite3.connect(served_world.database) as connection:
        connection.execute("DELETE FROM activations")
        connection.execute("UPDATE models SET held_back = 'it is not above popularity'")
    connection.close()
    with TestClient(create_app(settings_of(served_world))) as client:
        client.app.state.services.keeper.look()
        detail = problem(client.get("/recommend/u01"), 503).detail
        name = recommender.model_version
        assert f"model {name} is ready and waits: it is not above popularity; POST /models/{name}/activate" in detail
        assert f"model {name} is ready and waits" in problem(client.get("/recommend/u01?dataset=tiny"), 503).detail
        assert "there is no data set 'nowhere'" in problem(client.get("/recommend/u01?dataset=nowhere"), 404).detail
        assert client.get("/jobs/1").json()["model_waits"] == "it is not above popularity"
        (model,) = client.get("/models").json()["models"]
        assert (model["state"], model["waits"]) == ("ready", "it is not above popularity")
        client.post(f"/models/{name}/activate").raise_for_status()
        assert client.get("/jobs/1").json()["model_waits"] is None
        assert version(client) == name


def test_a_next_page_comes_from_the_model_of_the_first(served, served_world, recommender):
    page = served.get("/recommend/u01?k=5").json()
    left = another_model(served_world, activate=False)
    served.post(f"/models/{left}/activate")
    following = served.get(page["next"]).json()
    assert following["model_version"] == recommender.model_version != version(served)
    both = answered(page["items"] + following["items"])
    assert both == expected_of(recommender, "u01", 10) != expected_of(loaded(served_world, left), "u01", 10)


def test_feedback_counts_in_every_version_in_memory(served, served_world, recommender):
    left = another_model(served_world, activate=True)
    until_served(served, left)
    body = {"events": [{"user_id": "new", "item_id": "7", "timestamp": 1}]}
    served.post("/feedback", json=body)
    for model in (left, recommender.model_version):
        found = served.get("/recommend/new", params={"model": model, "k": 50}).json()
        assert "7" not in [item["item_id"] for item in found["items"]]


def test_a_broken_checkpoint_is_refused_and_the_old_one_stays(served, served_world, recommender):
    left = another_model(served_world, activate=False)
    spoil(served_world, 2)
    detail = problem(served.post(f"/models/{left}/activate"), 409).detail
    assert left in detail
    assert "Traceback" not in detail
    assert version(served) == recommender.model_version
    models = {model["version"]: model for model in served.get("/models").json()["models"]}
    assert models[left]["refused"]
    assert not models[left]["active"]
    assert "fedmem_model_refusals_total 1.0" in served.get("/metrics").text


def circle(folder: Path) -> None:
    """Let the checkpoints of two rounds build on each other."""
    numbers = sorted(int(each.name) for each in folder.glob("rounds/[0-9]*"))
    for number, base in zip(numbers, (*numbers[1:], numbers[0]), strict=True):
        path = folder / "rounds" / f"{number:06d}" / "server.json"
        write_json(path, read_json(path) | {"memory_base": base})


def out_of_range(folder: Path) -> None:
    for path in folder.glob("rounds/*/memories-*.safetensors"):
        arrays = read_arrays(path)
        write_arrays(path, arrays | {"items": arrays["items"] + ITEMS})


def shifted(folder: Path) -> None:
    """Give each user the memory of the one before."""
    for path in folder.glob("rounds/*/memories-*.safetensors"):
        arrays = read_arrays(path)
        write_arrays(path, arrays | {"lengths": np.roll(arrays["lengths"], 1), "users": np.roll(arrays["users"], 1)})


def strange_sequence(folder: Path) -> None:
    path = folder / "dataset.safetensors"
    arrays = read_arrays(path)
    write_arrays(path, arrays | {"sequence": arrays["sequence"] + 7})


def test_a_checkpoint_of_the_right_shapes_with_strange_content_is_refused(
    served, served_world, recommender, followed_for_a_while
):
    left = another_model(served_world, activate=False)
    folder = served_world.data_dir / "jobs" / "2"
    shutil.copytree(folder, whole := folder.with_name("whole"))
    for spoilt in (circle, out_of_range, shifted, strange_sequence):
        spoilt(folder)
        detail = problem(served.post(f"/models/{left}/activate"), 409).detail
        assert "The run is damaged; train it anew." in detail, spoilt
        assert version(served) == recommender.model_version
        assert served.get("/recommend/u03").status_code == 200
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
    assert served.post(f"/models/{left}/activate").is_success


def test_a_broken_checkpoint_that_a_job_activated_is_refused_too(served, served_world, recommender, caplog):
    left = another_model(served_world, activate=False)
    spoil(served_world, 2)
    engine = connect(served_world.url)
    ModelStore(engine).activate(left, "the test")
    engine.dispose()
    for _ in range(3):
        wait_for_model(served)
    assert version(served) == recommender.model_version
    assert served.get("/models").json()["serving"] == recommender.model_version
    assert sum("was refused" in record.getMessage() for record in caplog.records) == 1


def test_a_start_with_a_broken_checkpoint_says_so(served_world):
    spoil(served_world, 1)
    with TestClient(create_app(settings_of(served_world))) as client:
        client.app.state.services.keeper.look()
        assert "was refused" in problem(client.get("/health/ready"), 503).detail
        problem(client.get("/recommend/u01"), 503)


def test_a_model_whose_scores_are_no_numbers_is_refused(full_world):
    recommender = Recommender.load(full_world.data_dir / "jobs" / "1")
    check(recommender)
    with torch.inference_mode():
        recommender.scorer.columns[:, 3] = float("nan")
    with pytest.raises(CheckpointError, match="of 30 items"):
        check(recommender)


def test_swaps_lose_no_request_and_every_answer_is_of_the_version_it_names(served, served_world, recommender):
    left = another_model(served_world, activate=False)
    expected = {
        model.model_version: expected_of(model, "u01", 10) for model in (recommender, loaded(served_world, left))
    }
    assert expected[left] != expected[recommender.model_version]
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            response = served.get("/recommend/u01")
            found = response.json()
            if response.status_code != 200 or answered(found["items"]) != expected.get(found["model_version"]):
                wrong.append(found)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    for wanted in [left, recommender.model_version] * 5:
        assert served.post(f"/models/{wanted}/activate").status_code == 200
    done.set()
    for asker in askers:
        asker.join()
    assert wrong == []


def test_what_comes_while_a_model_is_loaded_is_not_lost(served, served_world, monkeypatch):
    """An item, an interaction and a deletion that come after the new model has read the database."""
    left = another_model(served_world, activate=False)
    monkeypatch.setattr(new_items, "encoder_of", lambda name: Encoder())
    monkeypatch.setattr("backend.model_loader.check", lambda recommender: change())

    def change() -> None:
        assert served.put("/items/x", json={"title": "Film X", "genres": ["Western"]}).status_code == 200
        body = {"events": [{"user_id": "new", "item_id": "7", "timestamp": 1}]}
        assert served.post("/feedback", json=body).status_code == 200
        assert served.delete("/users/u03").status_code == 204

    assert served.post(f"/models/{left}/activate").status_code == 200
    found = served.get("/recommend/new?category=Western").json()
    assert (found["model_version"], [item["item_id"] for item in found["items"]]) == (left, ["x"])
    assert "7" not in [item["item_id"] for item in served.get("/recommend/new?k=50").json()["items"]]
    assert served.get("/recommend/u03?strict=true").status_code == 404


def test_who_is_deleted_and_comes_back_while_a_model_is_loaded_is_known_by_the_return(
    served, served_world, monkeypatch
):
    """Between the model's file and its reading of the interactions; the deletion is done again at the swap."""
    left = another_model(served_world, activate=False)
    catalogue = served.app.state.services.keeper.changes.catalogue
    items_since, said = catalogue.items_since, []

    def say(item: str) -> None:
        said.append(item)
        body = {"events": [{"user_id": "u03", "item_id": item, "timestamp": 1_700_000_000 * (item == "7")}]}
        assert served.post("/feedback", json=body).status_code == 200

    def meanwhile(dataset: str, after: int) -> tuple[int, list[ItemRow]]:
        if threading.current_thread().name.startswith("loader") and not said:
            say("5")
            assert served.delete("/users/u03").status_code == 204
            say("7")
        return items_since(dataset, after)

    monkeypatch.setattr(catalogue, "items_since", meanwhile)
    assert served.post(f"/models/{left}/activate").status_code == 200
    assert version(served) == left
    found = {item["item_id"] for item in served.get("/recommend/u03?k=50").json()["items"]}
    assert found == {str(number) for number in range(1, ITEMS + 1)} - {"7"}


def test_items_are_read_again_only_if_one_was_changed_by_whomever(served, served_world, recommender, monkeypatch):
    """A version of the same snapshot takes up what the one before it did."""
    monkeypatch.setattr(new_items, "encoder_of", lambda name: Encoder())
    catalogue = served.app.state.services.keeper.changes.catalogue
    reads, items_since = [], catalogue.items_since

    def noted(dataset: str, version: int) -> tuple[int, list[ItemRow]]:
        now, rows = items_since(dataset, version)
        reads.append([row.item_id for row in rows])
        return now, rows

    monkeypatch.setattr(catalogue, "items_since", noted)
    versions = [another_model(served_world, activate=False) for _ in range(4)]

    def title_after_activating(version: str) -> str:
        assert served.post(f"/models/{version}/activate").status_code == 200
        found = served.get("/recommend/stranger?k=50").json()
        assert found["model_version"] == version
        return next(item["title"] for item in found["items"] if item["item_id"] == "3")

    before = title_after_activating(versions[0])
    assert not any(reads)
    engine = connect(served_world.url)  # as an import by the command line would
    CatalogueStore(engine).put_item("tiny", ItemRow("3", "Told elsewhere", text=catalogue.item("tiny", "3").text))
    engine.dispose()
    assert [title_after_activating(version) for version in versions[1:3]] == ["Told elsewhere"] * 2 != [before] * 2
    assert {tuple(read) for read in reads} == {(), ("3",)}
    served.put("/items/3", json={"title": "Told here"})
    assert title_after_activating(versions[3]) == "Told here"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_models_are_loaded_by_a_thread_that_steps_back(served, served_world, monkeypatch):
    left = another_model(served_world, activate=False)
    niceness = []

    def note(_: Recommender) -> None:
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    monkeypatch.setattr("backend.model_loader.check", note)
    assert served.post(f"/models/{left}/activate").status_code == 200
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert niceness == [max(own, NICENESS)]


@pytest.fixture
def busy(served, monkeypatch):
    """Does something while the application looks which model is active."""
    monkeypatch.setattr(new_items, "encoder_of", lambda name: Encoder())
    keeper = served.app.state.services.keeper
    active = keeper.models.all_active

    def look_during(change) -> None:
        def once():
            monkeypatch.setattr(keeper.models, "all_active", active)
            change()
            return active()

        monkeypatch.setattr(keeper.models, "all_active", once)
        keeper.look()

    return look_during


def test_an_item_told_during_a_look_is_not_told_again_at_the_next_swap(served, served_world, recommender, busy):
    left = another_model(served_world, activate=True)
    until_served(served, left)
    busy(lambda: served.put("/items/3", json={"title": "Old"}))
    served.put("/items/3", json={"title": "New"})
    assert served.post(f"/models/{recommender.model_version}/activate").status_code == 200
    found = served.get("/recommend/stranger?k=50").json()["items"]
    assert [item["title"] for item in found if item["item_id"] == "3"] == ["New"]


def test_a_deletion_during_a_look_is_not_done_again_at_the_next_swap(served, served_world, recommender, busy):
    left = another_model(served_world, activate=True)
    until_served(served, left)
    busy(lambda: served.delete("/users/u03"))
    served.post("/feedback", json={"events": [{"user_id": "u03", "item_id": "7", "timestamp": 1_700_000_000}]})
    assert served.post(f"/models/{recommender.model_version}/activate").status_code == 200
    assert "7" not in [item["item_id"] for item in served.get("/recommend/u03?k=50").json()["items"]]


def test_what_comes_during_looks_is_not_kept(served, busy):
    for number in range(5):
        busy(lambda number=number: served.put("/items/3", json={"title": f"Film {number}"}))
    assert len(served.app.state.services.keeper.changes._meanwhile) <= 1


def test_a_database_that_goes_away_does_not_take_recommendations_with_it(served, served_world):
    served_world.database.rename(served_world.database.with_suffix(".away"))
    for side in ("-wal", "-shm"):
        served_world.database.with_name(served_world.database.name + side).unlink(missing_ok=True)
    time.sleep(0.2)
    assert served.get("/recommend/u01").status_code == 200


def test_another_model_of_the_data_set_stands_in_for_one_whose_checkpoint_is_gone_at_the_start(served_world, caplog):
    another = another_model(served_world, activate=True)
    folder = served_world.data_dir / "jobs" / "2"
    shutil.move(folder, folder.with_name("gone"))
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        answer = client.get("/recommend/u00").raise_for_status().json()
        assert answer["model_version"].startswith("job-1-")
        page = ModelPage.model_validate(client.get("/models").json())
        assert page.serving == answer["model_version"]
        assert {model.version: model.active for model in page.models}[another]
        assert any("stands in for" in message for message in caplog.messages)
        shutil.move(folder.with_name("gone"), folder)
        keeper = client.app.state.services.keeper
        keeper.loader.refusals.clear()  # as a minute does
        keeper.look()
        assert client.get("/recommend/u00").json()["model_version"] == another


def test_no_model_of_an_experiment_stands_in(served_world, caplog):
    lost = another_model(served_world, activate=True)
    another_model(served_world, activate=False, kind="experiment")
    shutil.rmtree(served_world.data_dir / "jobs" / "2")
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        assert version(client).startswith("job-1-")
        assert any(f"stands in for {lost}" in message for message in caplog.messages)
