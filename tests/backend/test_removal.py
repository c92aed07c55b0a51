"""Removal over HTTP, and a data set that is removed while its model answers."""

from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.bucket import Runs
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from fedmem.storage.job_removal import JobRemoval
from tests.backend.conftest import problem, settings_of

ON_BOTH_DATABASES = True


def test_an_ended_job_is_removed_but_not_while_its_model_serves(served, served_world):
    assert "is in service" in problem(served.delete("/jobs/1"), 409).detail
    job = served.post("/jobs", json={"dataset": "other"}).json()["id"]
    assert "stop it first" in problem(served.delete(f"/jobs/{job}"), 409).detail
    served.post(f"/jobs/{job}/stop")
    assert served.delete(f"/jobs/{job}").status_code == 204
    assert problem(served.get(f"/jobs/{job}"), 404)
    assert (served_world.data_dir / "jobs" / "1").is_dir()


def test_what_a_removal_frees_is_said_and_nothing_is_removed(served, served_world):
    detail = problem(served.get("/jobs/1/removal"), 409).detail
    assert "cannot be removed: its model" in detail
    job = served.app.state.services.jobs
    row, _ = job.create(kind="experiment", dataset="tiny", config={}, num_rounds=3)
    assert "stop it first" in problem(served.get(f"/jobs/{row.id}/removal"), 409).detail
    job.stop(row.id)
    folder = served_world.data_dir / "jobs" / str(row.id)
    folder.mkdir()
    (folder / "weights").write_bytes(b"x" * 8192)
    told = served.get(f"/jobs/{row.id}/removal").json()
    assert told == {"job_id": row.id, "rounds": 0, "model_version": None, "size": 8192}
    assert folder.exists()
    assert served.get(f"/jobs/{row.id}").status_code == 200


def test_a_data_set_that_is_removed_with_its_model_is_answered_no_more(served, served_world, caplog):
    assert served.get("/recommend/u01?dataset=tiny").status_code == 200
    assert 'fedmem_model_round{dataset="tiny"' in served.get("/metrics").text
    caplog.set_level("INFO", "backend")  # before a look of the application's own may find it out
    engine = connect(served_world.url)
    removal = JobRemoval(engine, Runs(served_world.data_dir))
    for job in removal.of_dataset("tiny"):
        removal.remove(job, "a test", even_in_service=True)
    CatalogueStore(engine).remove("tiny")
    engine.dispose()
    served.app.state.services.keeper.look()
    assert "no model of data set tiny is in service any more" in caplog.text
    assert 'fedmem_model_round{dataset="tiny"' not in served.get("/metrics").text
    problem(served.get("/recommend/u01"), 503)
    assert served.get("/health/ready").status_code == 503
    assert [row["name"] for row in served.get("/datasets").json()["datasets"]] == ["other"]


def test_removing_needs_a_key_that_writes(served_world):
    with TestClient(create_app(settings_of(served_world, api_key="the key"))) as client:
        problem(client.delete("/jobs/1"), 401)
