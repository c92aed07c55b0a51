"""The job routes: create, list, stop, pause, resume; states, keys and problems."""

from types import SimpleNamespace

import pytest
import yaml
from sqlalchemy.exc import DataError
from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.contracts import Job, JobDefaults, JobPage, LeakReport
from fedmem.serving import write_leaks
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns
from tests.backend.conftest import problem
from tests.tiny import LEAK

ON_BOTH_DATABASES = True


def create(client: TestClient, key: str | None = None, **body: object) -> Job:
    headers = {} if key is None else {"Idempotency-Key": key}
    response = client.post("/jobs", json={"dataset": "tiny", **body}, headers=headers)
    assert response.status_code == 201, response.text
    job = Job.model_validate(response.json())
    assert response.headers["location"] == f"/jobs/{job.id}"
    return job


def test_a_job_is_queued_with_its_whole_configuration(client):
    job = create(client, config={"federated": {"num_rounds": 7}})
    assert (job.state, job.desired_state, job.kind, job.dataset) == ("queued", "running", "training", "tiny")
    assert (job.round, job.num_rounds, job.config.federated.num_rounds) == (0, 7, 7)
    assert Job.model_validate(client.get(f"/jobs/{job.id}").json()) == job


def test_a_job_that_no_history_is_long_enough_for_is_refused(client, engine):
    rows = (
        [f"u{user}" for user in range(3) for _ in range(4)],
        [f"i{n}" for n in range(12)],
        [float(n) for n in range(12)],
    )
    CatalogueStore(engine).write("short", "the test", InteractionColumns(*rows), [])
    refused = problem(client.post("/jobs", json={"dataset": "short"}), 422)
    assert "no user of short has data.min_sequence_length = 5 interactions" in refused.detail
    assert client.post("/jobs", json={"dataset": "short", "config": {"data": {"min_sequence_length": 4}}}).is_success


def test_the_data_sets_setting_comes_before_the_default_and_after_what_is_asked_for(client, engine):
    assert create(client).config.data.repeats == "hide"
    CatalogueStore(engine).write("tiny", "test", InteractionColumns(["u00"], ["1"], [0.0]), [], repeats="offer")
    assert [row["repeats"] for row in client.get("/datasets").json()["datasets"]] == [None, "offer"]
    assert create(client, config={"data": {"min_sequence_length": 4}}).config.data.repeats == "offer"
    assert create(client, config={"data": {"repeats": "hide"}}).config.data.repeats == "hide"


def test_the_installations_settings_come_before_the_default_and_after_what_is_asked_for(settings, tmp_path):
    (tmp_path / "jobs.yaml").write_text("federated: {num_rounds: 7}\n")
    with TestClient(create_app(settings(job_config=tmp_path / "jobs.yaml"))) as client:
        assert create(client).num_rounds == 7
        assert create(client, config={"federated": {"num_rounds": 9}}).num_rounds == 9
        (tmp_path / "jobs.yaml").unlink()
        assert "jobs.yaml" in problem(client.post("/jobs", json={"dataset": "tiny"}), 422).detail


ENCODERS = [{"model": {"text_model_name": "/etc"}}, {"features": {"image_model_name": "who/has-filled-the-disk"}}]


@pytest.mark.parametrize("named", ENCODERS)
def test_a_posted_job_names_no_encoder_that_the_operator_does_not(client, settings, tmp_path, named):
    body = {"dataset": "tiny", "config": named}
    ((key, value),) = ((f"{part}.{name}", value) for part, said in named.items() for name, value in said.items())
    detail = problem(client.post("/jobs", json=body), 422).detail
    assert detail.startswith(f"{key} = {value!r}: a job that is posted may name all-MiniLM-L6-v2, clip-ViT-B-32, desc")
    assert client.get("/jobs").json()["jobs"] == []
    own = tmp_path / "jobs.yaml"
    own.write_text(yaml.safe_dump(named), encoding="utf-8")
    for changed in ({"encoders": f"descriptor, {value}"}, {"encoders": "*"}, {"job_config": own}):
        with TestClient(create_app(settings(**changed))) as listed:
            assert listed.post("/jobs", json=body).status_code == 201
    with TestClient(create_app(settings(encoders=""))) as strict:
        assert strict.post("/jobs", json={"dataset": "tiny"}).status_code == 201


def test_the_same_key_answers_with_the_same_job(client):
    first = create(client, key="k1")
    assert create(client, key="k1") == first
    assert create(client, key="k2").id != first.id
    assert len(client.get("/jobs").json()["jobs"]) == 2


def test_a_key_of_another_request_is_a_conflict(client):
    create(client, key="k1")
    response = client.post("/jobs", json={"dataset": "other"}, headers={"Idempotency-Key": "k1"})
    assert "k1" in problem(response, 409).detail


def test_an_unknown_data_set_is_named_with_those_there_are(client):
    detail = problem(client.post("/jobs", json={"dataset": "nowhere"}), 404).detail
    assert all(name in detail for name in ("nowhere", "tiny", "other"))


def test_a_wrong_configuration_names_key_and_value(client):
    response = client.post("/jobs", json={"dataset": "tiny", "config": {"federated": {"num_rounds": -3}}})
    assert problem(response, 422).detail.startswith("config.federated.num_rounds = -3: ")


@pytest.mark.parametrize(
    ("config", "detail"),
    [
        ({"features": {"text.model": 3}}, "config.features.text.model = 3: there is no such key"),
        ({"federatd": {}}, "config.federatd: there is no such key (did you mean 'federated'?)"),
        (
            {"federated": {"num_round": 3}},
            "config.federated.num_round = 3: there is no such key (did you mean 'federated.num_rounds'?)",
        ),
        ({"zzz": 3}, "config.zzz = 3: there is no such key"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(client, config, detail):
    response = client.post("/jobs", json={"dataset": "tiny", "config": config})
    assert problem(response, 422).detail == detail


def test_the_first_three_things_that_are_wrong_are_told(client):
    body = {"dataset": "tiny", "config": {"seed": -1, "workers": 0}, "knd": 1}
    told = problem(client.post("/jobs", json=body), 422).detail
    assert told.split(": ")[0] == "config.seed = -1"
    assert "; config.workers = 0: " in told
    assert told.endswith("; knd = 1: there is no such key")
    told = problem(client.post("/jobs", json={**body, "a": 1, "b": 2}), 422).detail
    assert told.endswith(" (and 2 more)")
    assert told.count("; ") == 2


@pytest.mark.parametrize(
    ("headers", "body", "detail"),
    [
        ({}, b"{}", "the header Content-Type: application/json is missing, so that the body was not read"),
        ({"Content-Type": "text/plain"}, b"{}", "the body was not read, because it comes as 'text/plain': send "),
        (
            {"Content-Type": "application/json"},
            b'{"dataset":}',
            "the body is not valid JSON (Expecting value at character 11)",
        ),
    ],
)
def test_a_body_that_cannot_be_read(client, headers, body, detail):
    for path in ("/jobs", "/recommend", "/recommend/batch", "/feedback?dataset=tiny"):
        assert problem(client.post(path, content=body, headers=headers), 422).detail.startswith(detail)


@pytest.mark.parametrize(
    ("stored", "seed", "refused"),
    [
        ({"seed": 7, "ensemble": {"size": 3}}, 7, ["ensemble"]),
        ({"seed": 7, "federated": {"num_rounds": 3, "gossip": True}}, 7, ["federated.gossip"]),
        ({"seed": 7, "training": {"loss": "hinge", "batch_size": "all"}}, 7, ["training.loss", "training.batch_size"]),
        ({"seed": 7, "evaluation": {"k_list": [0, -1, 10]}, "fedmem": 3}, 7, ["fedmem", "evaluation.k_list"]),
        (
            {"seed": 7, "features": {"preference_text": "required"}, "ablation": {"disable_moe": True}},
            42,
            ["seed", "features", "ablation"],
        ),
    ],
)
def test_a_configuration_of_another_version_takes_no_other_job_with_it(client, jobs, stored, seed, refused):
    jobs.create(kind="training", dataset="tiny", config=stored, num_rounds=3)
    create(client)
    new, old = JobPage.model_validate(client.get("/jobs").json()).jobs
    assert (old.config.seed, list(old.config_refused)) == (seed, refused)
    assert new.config_refused == ()
    assert client.get(f"/jobs/{old.id}").json() == old.model_dump(mode="json")
    assert client.post(f"/jobs/{old.id}/stop").json()["state"] == "stopped"


@pytest.mark.parametrize(
    "body", [b"{", b"", b'{"dataset": "tiny", "config": {"seed": NaN}}', b'{"dataset": "\\ud800"}']
)
def test_a_body_that_is_no_request(client, body):
    problem(client.post("/jobs", content=body, headers={"Content-Type": "application/json"}), 422)


def test_a_job_starts_from_an_ended_one_of_the_same_data_only(client):
    problem(client.post("/jobs", json={"dataset": "tiny", "start_from": 99}), 404)
    queued = create(client)
    problem(client.post("/jobs", json={"dataset": "tiny", "start_from": queued.id}), 409)


def test_a_job_that_continues_another_has_its_settings_and_one_that_it_cannot_have_is_refused(served):
    before = Job.model_validate(served.get("/jobs/1").json())
    longer = {"federated": {"num_rounds": before.round + 3}}
    job = create(served, start_from=1, config=longer)
    assert job.config.settings() == before.config.settings() | {"federated.num_rounds": before.round + 3}
    for snapshot in ("newest", "same"):
        body = {"dataset": "tiny", "start_from": 1, "snapshot": snapshot, "config": {**longer, "seed": 7}}
        detail = problem(served.post("/jobs", json=body), 422).detail
        assert detail.startswith(f"seed was {before.config.seed} when job 1 began and is now 7: ")
    private = {**longer, "privacy": {"weights_epsilon": 8}}
    body = {"dataset": "tiny", "start_from": 1, "config": private}
    assert "privacy.weights_epsilon" in problem(served.post("/jobs", json=body), 422).detail


def test_the_settings_of_a_job_that_says_none_are_shown(settings, tmp_path):
    (tmp_path / "jobs.yaml").write_text("federated: {num_rounds: 7}\n")
    with TestClient(create_app(settings(job_config=tmp_path / "jobs.yaml"))) as client:
        CatalogueStore(client.app.state.services.engine).write(
            "tiny", "test", InteractionColumns(["u00"], ["1"], [0.0]), [], repeats="offer"
        )
        shown = JobDefaults.model_validate(client.get("/jobs/defaults?dataset=tiny").json())
        assert (shown.dataset, shown.config.data.repeats, shown.config.federated.num_rounds) == ("tiny", "offer", 7)
        assert shown.config.settings() == create(client).config.settings()
        assert "nowhere" in problem(client.get("/jobs/defaults?dataset=nowhere"), 404).detail


def test_a_queued_job_pauses_resumes_and_stops(client):
    job = create(client)
    for verb, state in (("pause", "paused"), ("resume", "queued"), ("stop", "stopped")):
        response = client.post(f"/jobs/{job.id}/{verb}")
        assert (response.status_code, response.json()["state"]) == (202, state)
    for verb in ("pause", "resume"):
        assert "stopped" in problem(client.post(f"/jobs/{job.id}/{verb}"), 409).detail


def test_a_running_job_is_asked_to_stop(client, jobs):
    job = create(client)
    jobs.claim("trainer", 60, 3)
    response = client.post(f"/jobs/{job.id}/stop")
    assert response.status_code == 202
    assert (response.json()["state"], response.json()["desired_state"]) == ("running", "stopped")
    assert client.post(f"/jobs/{job.id}/stop").status_code == 202
    problem(client.post(f"/jobs/{job.id}/pause"), 409)


@pytest.mark.parametrize("path", ["", "/stop", "/pause", "/resume", "/metrics", "/logs", "/events"])
def test_a_job_there_is_not(client, path):
    method = "POST" if path in ("/stop", "/pause", "/resume") else "GET"
    assert "12345" in problem(client.request(method, f"/jobs/12345{path}"), 404).detail


@pytest.mark.parametrize("job_id", ["0", "-1", "x", str(2**63)])
def test_a_number_that_no_job_has(client, job_id):
    assert problem(client.get(f"/jobs/{job_id}"), 422).detail.startswith(f"job_id = {job_id!r}")


def test_pages_are_newest_first_disjoint_and_whole(client):
    made = [create(client, dataset="other" if number % 3 else "tiny").id for number in range(7)]
    for dataset in (None, "other"):
        wanted = [number for at, number in reversed(list(enumerate(made))) if dataset is None or at % 3]
        found, path = [], f"/jobs?limit=2{'' if dataset is None else '&dataset=' + dataset}"
        while path:
            page = JobPage.model_validate(client.get(path).json())
            found += [job.id for job in page.jobs]
            path = page.next
        assert found == wanted


def test_jobs_are_found_by_state_and_kind(client):
    first, second = create(client), create(client, kind="experiment")
    client.post(f"/jobs/{first.id}/stop")

    def found(query: str) -> list[int]:
        return [job["id"] for job in client.get(f"/jobs?{query}").json()["jobs"]]

    assert found("state=queued") == found("kind=experiment") == [second.id]
    assert found("state=stopped&kind=training") == [first.id]
    assert found("state=running") == []
    assert found("dataset=tiny") == [second.id, first.id]
    assert "tiny" in problem(client.get("/jobs?dataset=nowhere"), 404).detail
    problem(client.get("/jobs?state=asleep"), 422)


def test_writing_needs_the_key_where_there_is_one(settings):
    with TestClient(create_app(settings(api_key="the-key"))) as client:
        for headers in ({}, {"X-API-Key": "another"}, {"X-API-Key": "th\u00e9-key".encode("latin-1")}):
            response = client.post("/jobs", json={"dataset": "tiny"}, headers=headers)
            found = problem(response, 401)
            assert "X-API-Key" in found.detail
            assert "the-key" not in response.text
            assert response.headers["www-authenticate"].startswith("ApiKey ")
        key = {"X-API-Key": "the-key"}
        job = client.post("/jobs", json={"dataset": "tiny"}, headers=key).json()["id"]
        for verb in ("pause", "resume", "stop"):
            problem(client.post(f"/jobs/{job}/{verb}"), 401)
        assert client.get(f"/jobs/{job}").json()["state"] == "queued"
        assert client.post(f"/jobs/{job}/stop", headers=key).status_code == 202


def test_the_key_is_in_no_log_line(settings, caplog):
    caplog.set_level(0)
    with TestClient(create_app(settings(api_key="the-secret-key"))) as client:
        for given in ("the-secret-key", "the-secret-key2"):
            for path in ("/jobs", "/jobs?key=the-secret-key"):
                client.post(path, json={"dataset": "nowhere"}, headers={"X-API-Key": given})
    assert caplog.records
    assert not any("the-secret-key" in f"{record.__dict__}" for record in caplog.records if "backend" in record.name)


def test_a_database_that_is_not_migrated(settings, tmp_path):
    with TestClient(create_app(settings(database_url=f"sqlite:///{tmp_path}/empty.db"))) as client:
        response = client.get("/jobs")
        assert "fedmem db upgrade" in problem(response, 503).detail
        assert response.headers["retry-after"] == "5"
        assert "fedmem db upgrade" in problem(client.get("/health/ready"), 503).detail
        assert client.get("/health/live").status_code == 200


def test_a_job_that_is_too_large_for_the_machine_is_refused_with_what_it_would_take(client):
    large = {"model": {"sasrec_hidden_dim": 10_000, "sasrec_num_blocks": 20}}
    found = problem(client.post("/jobs", json={"dataset": "tiny", "config": large}), 422)
    assert "of memory" in found.detail
    assert "model.sasrec_hidden_dim" in found.detail
    assert client.get("/jobs").json()["jobs"] == []


def test_a_job_that_the_disk_has_no_room_for_is_refused_with_what_it_would_take(client, monkeypatch):
    monkeypatch.setattr("fedmem.storage.job_room.shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    found = problem(client.post("/jobs", json={"dataset": "tiny"}), 409)
    assert "of disk" in found.detail
    assert "0 MiB free" in found.detail


def test_the_log_begins_with_what_a_job_is_estimated_to_take(client):
    job = create(client)
    (line,) = client.get(f"/jobs/{job.id}/logs").json()["lines"]
    assert line["message"].startswith("estimated to take ")


def test_what_a_job_will_cost_a_user_is_said_before_it_begins(client):
    budget = {"privacy": {"weights_epsilon": 8}, "federated": {"num_rounds": 20}}
    answer = client.post("/jobs", json={"dataset": "tiny", "config": budget})
    assert answer.status_code == 201
    found = answer.json()["privacy"]
    assert found["epsilon"] == pytest.approx(8, rel=1e-3)
    assert (found["delta"], found["protected"]) == (1e-6, ["weights"])
    _, rounds, together = client.get(f"/jobs/{answer.json()['id']}/logs").json()["lines"]
    assert rounds["message"].startswith("the weights will spend epsilon 8 at delta 1e-06 for a user, in 20 rounds")
    assert together["message"].startswith("all budgets together will spend epsilon 8 at delta 1e-06")
    assert client.post("/jobs", json={"dataset": "tiny"}).json()["privacy"] is None
    too_little = {"privacy": {"weights_epsilon": 1, "weights_noise": 0.5}}
    refused = problem(client.post("/jobs", json={"dataset": "tiny", "config": too_little}), 422)
    assert "in one round" in refused.detail
    too_few = {"weights_epsilon": 5, "weights_noise": 0.8, "transitions_epsilon": 2}
    refused = problem(client.post("/jobs", json={"dataset": "tiny", "config": {"privacy": too_few}}), 422)
    assert "is of round 50, and a round after round" in refused.detail
    few_shares = {"secure_sums": {"enabled": True, "threshold": 0.65}}
    refused = problem(client.post("/jobs", json={"dataset": "tiny", "config": few_shares}), 422)
    assert "secure_sums.threshold = 0.65: a server" in refused.detail


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("config = '{broken'", "config_refused"),
        ("config = '[1, 2]'", "config_refused"),
        ("created_at = 1e300", "damaged"),
        ("num_rounds = 'many'", "damaged"),
        ("state = state, round = 'x'", "damaged"),
    ],
)
def test_one_broken_row_is_one_broken_job_in_the_list(client, engine, damage, says):
    broken, whole = create(client), create(client)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE jobs SET {damage} WHERE id = {broken.id}")
    except DataError:
        assert engine.dialect.name == "postgresql"
        pytest.skip("PostgreSQL keeps no such value")
    page = JobPage.model_validate(client.get("/jobs").raise_for_status().json())
    assert [job.id for job in page.jobs] == [whole.id, broken.id]
    assert page.jobs[0] == whole
    shown = Job.model_validate(client.get(f"/jobs/{broken.id}").raise_for_status().json())
    assert (says == "damaged") == ("damaged" in (shown.message or ""))
    assert (says == "config_refused") == bool(shown.config_refused)


def test_what_a_job_leaks_is_told_once_it_was_measured(served, served_world):
    missing = served.get("/jobs/1/leaks")
    assert missing.status_code == 404
    assert "fedmem audit 1 --attacks" in missing.json()["detail"]
    report = LeakReport(job_id=1, round=6, clients=2, leaks=(LEAK,))
    write_leaks(served_world.data_dir / "jobs" / "1", report)
    assert LeakReport.model_validate(served.get("/jobs/1/leaks").json()) == report
    assert served.get("/jobs/99/leaks").status_code == 404
    (served_world.data_dir / "jobs" / "1" / "leaks.json").write_text('{"round": "six"}')
    damaged = served.get("/jobs/1/leaks")
    assert damaged.status_code == 503
    assert "leaks.json" in damaged.json()["detail"]
