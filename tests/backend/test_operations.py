"""Health, metrics, data sets and trainers."""

import re
import time

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.served_model import ServedModel
from backend.settings import Settings
from fedmem.storage.jobs import JobStore
from tests.backend.conftest import columns, problem, settings_of


def test_it_is_alive_and_ready(served, recommender):
    assert served.get("/health/live").json() == {"status": "live"}
    assert served.get("/health/ready").json() == {
        "status": "ready",
        "model_version": recommender.model_version,
        "dataset": "tiny",
        "in_service": [
            {
                "dataset": "tiny",
                "model_version": recommender.model_version,
                "in_memory": True,
                "default": True,
                "ab_test": None,
            }
        ],
        "warnings": [],
    }


def test_metrics_name_routes_and_the_model(served, recommender):
    served.get("/recommend/stranger")
    text = served.get("/metrics").text
    assert 'fedmem_http_requests_total{method="GET",route="/recommend/{user_id}",status="200"} 1.0' in text
    assert f'fedmem_model_round{{dataset="tiny",version="{recommender.model_version}"}} {recommender.round}.0' in text
    assert "process_resident_memory_bytes" in text
    assert "stranger" not in text


def test_metrics_need_no_key_and_name_nothing_that_was_asked_for(full_world):
    """Not even made up: a label of a caller's choice would also let the counters grow without end."""
    app = create_app(settings_of(full_world, api_key="to write", read_key="to read"))
    with TestClient(app, headers={"X-API-Key": "to write"}) as client:
        client.request("INVENTED", "/recommend/named-user")
        for path in ("/recommend/named-user", "/users/named-user/history", "/items/named-item", "/named/path"):
            client.get(
                path, params={"k": "named-query"}, headers={"User-Agent": "named-agent", "X-Request-ID": "named-id"}
            )
        del client.headers["X-API-Key"]
        assert client.get("/models").status_code == 401
        found = client.get("/metrics")
        assert found.status_code == 200
        assert 'route="/users/{user_id}/history"' in found.text
        assert "named" not in found.text
        assert "INVENTED" not in found.text


def test_data_sets_and_how_much_is_in_them(client):
    other, tiny = client.get("/datasets").json()["datasets"]
    assert (other["name"], other["users"], other["items"], other["interactions"]) == ("other", 1, 1, 5)
    assert (tiny["users"], tiny["items"], tiny["interactions"]) == (12, 30, len(columns()[0]))


def test_trainers_and_whether_they_live(client, jobs):
    jobs.seen("now", None)
    JobStore(jobs.engine, clock=lambda: time.time() - 300).seen("long ago", None)
    now, before = client.get("/trainers").json()["trainers"]
    assert (now["worker"], now["alive"]) == ("now", True)
    assert (before["worker"], before["alive"]) == ("long ago", False)


def test_a_trainer_that_died_before_the_clock_was_set_back_does_not_live(client, jobs):
    JobStore(jobs.engine, clock=lambda: time.time() + 3600).seen("in an hour", None)
    (ahead,) = client.get("/trainers").json()["trainers"]
    assert (ahead["worker"], ahead["alive"]) == ("in an hour", False)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PATCH", "/jobs", 405)])
def test_what_there_is_not(client, method, path, status):
    detail = problem(client.request(method, path), status).detail
    assert ("/nothing" if status == 404 else "allowed: ") in detail


def test_the_start_page_leads_to_the_documentation(client):
    assert client.get("/").url.path == "/docs"


def test_the_documentation_asks_no_other_host(client):
    page = client.get("/docs").text
    assert '"validatorUrl": null' in page
    files = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert len(files) == 2
    for file in files:
        assert client.get(file).status_code == 200
    assert not re.findall(r"https?://", page)
    problem(client.get("/redoc"), 404)


def test_a_run_is_served_without_a_database(recommender):
    app = create_app(Settings(_env_file=None), ServedModel.of_run(recommender))
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/recommend/u01").json()["model_version"] == recommender.model_version
        assert client.get("/health/ready").json()["model_version"] == recommender.model_version
        assert client.get("/items/3/similar").status_code == 200
        problem(client.get("/jobs"), 404)
        assert "'nowhere'" in problem(client.get("/recommend/u01?dataset=nowhere"), 404).detail
        assert "/jobs" not in client.get("/openapi.json").json()["paths"]
