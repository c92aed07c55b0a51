"""The schedule routes: add, list, change, pause, run, remove, and what is refused."""

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.contracts import Job, Schedule, ScheduleList
from tests.backend.conftest import problem

ON_BOTH_DATABASES = True


def create(client: TestClient, **body: object) -> Schedule:
    response = client.post("/schedules", json={"dataset": "tiny", "cron": "0 3 * * *", **body})
    assert response.status_code == 201, response.text
    found = Schedule.model_validate(response.json())
    assert response.headers["location"] == f"/schedules/{found.id}"
    return found


def listed(client: TestClient, query: str = "") -> list[int]:
    return [one.id for one in ScheduleList.model_validate(client.get(f"/schedules{query}").json()).schedules]


def test_a_schedule_names_no_encoder_that_the_operator_does_not(client):
    body = {"dataset": "tiny", "cron": "0 3 * * *", "config": {"model": {"text_model_name": "who/has-filled-the-disk"}}}
    assert "FEDMEM_ENCODERS" in problem(client.post("/schedules", json=body), 422).detail
    assert listed(client) == []


def test_there_is_none_at_first(client):
    assert listed(client) == []


def test_one_is_added_shown_and_removed(client):
    made = create(client, timezone="Europe/Berlin", rounds=5, config={"federated": {"num_rounds": 7}})
    assert (made.dataset, made.cron, made.timezone, made.rounds) == ("tiny", "0 3 * * *", "Europe/Berlin", 5)
    assert (made.paused, made.promotion, made.last_job, made.trouble) == (False, None, None, None)
    assert made.next_at.minute == 0
    assert made.config.federated.num_rounds == 7
    assert Schedule.model_validate(client.get(f"/schedules/{made.id}").json()) == made
    assert listed(client) == listed(client, "?dataset=tiny") == [made.id]
    assert listed(client, "?dataset=other") == []
    assert client.delete(f"/schedules/{made.id}").status_code == 204
    assert listed(client) == []
    problem(client.get(f"/schedules/{made.id}"), 404)


def test_it_is_changed_in_parts(client):
    made = create(client)
    path = f"/schedules/{made.id}"
    assert client.patch(path, json={"paused": True}).json()["next_at"] is None
    changed = client.patch(path, json={"paused": False, "rounds": 9, "promotion": "manual"}).json()
    assert (changed["rounds"], changed["promotion"], changed["cron"]) == (9, "manual", "0 3 * * *")
    assert client.patch(path, json={"promotion": None}).json()["promotion"] is None
    assert client.patch(path, json={}).json()["rounds"] == 9
    detail = problem(client.patch(path, json={"rounds": None}), 422).detail
    assert "rounds is null: leave it out" in detail


def test_its_job_is_queued_at_once_and_only_one_at_a_time(client):
    made = create(client, config={"federated": {"num_rounds": 7}})
    response = client.post(f"/schedules/{made.id}/run")
    assert response.status_code == 201
    job = Job.model_validate(response.json())
    assert response.headers["location"] == f"/jobs/{job.id}"
    assert (job.state, job.num_rounds, job.start_from) == ("queued", 7, None)
    shown = client.get(f"/schedules/{made.id}").json()
    assert (shown["last_job"], shown["last_job_state"]) == (job.id, "queued")
    assert "never two at a time" in problem(client.post(f"/schedules/{made.id}/run"), 409).detail
    assert client.get(f"/jobs/{job.id}/logs").json()["lines"][0]["message"].startswith("queued by schedule 1 ")


def test_the_model_in_service_goes_on(served):
    model = served.get("/models").json()["models"][0]
    made = create(served, rounds=3)
    job = served.post(f"/schedules/{made.id}/run").json()
    assert (job["start_from"], job["snapshot"], job["num_rounds"]) == (model["job_id"], "newest", model["round"] + 3)


def test_a_first_job_has_the_installations_settings(settings, tmp_path):
    (tmp_path / "jobs.yaml").write_text("federated: {num_rounds: 7}\n")
    with TestClient(create_app(settings(job_config=tmp_path / "jobs.yaml"))) as client:
        first, second = create(client), create(client, cron="0 4 * * *", config={"federated": {"num_rounds": 9}})
        queued = []
        for made in (first, second):
            job = client.post(f"/schedules/{made.id}/run").json()
            client.post(f"/jobs/{job['id']}/stop").raise_for_status()  # of one data set there are never two at a time
            queued.append(job["num_rounds"])
        assert queued == [7, 9]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"cron": "0 3 * *"}, "has 4 fields"),
        ({"cron": "0 25 * * *"}, "bad hour"),
        ({"timezone": "Mars/Base"}, "there is no time zone 'Mars/Base'"),
        ({"rounds": 0}, "rounds"),
        ({"config": {"federated": {"num_rounds": -1}}}, "num_rounds"),
        ({"config": {"secure_sums": {"enabled": True, "threshold": 0.5}}}, "secure_sums.threshold = 0.5: a server"),
        ({"night": True}, "night"),
    ],
)
def test_what_is_wrong_is_named(client, body, words):
    assert (
        words in problem(client.post("/schedules", json={"dataset": "tiny", "cron": "0 3 * * *", **body}), 422).detail
    )


def test_an_unknown_data_set_and_the_same_twice(client):
    problem(client.post("/schedules", json={"dataset": "nowhere", "cron": "0 3 * * *"}), 404)
    made = create(client)
    response = client.post("/schedules", json={"dataset": "tiny", "cron": "0 3 * * *"})
    assert f"schedule {made.id} is due at these times already" in problem(response, 409).detail
    for call in (client.get, client.delete):
        problem(call("/schedules/99"), 404)
    problem(client.post("/schedules/99/run"), 404)
