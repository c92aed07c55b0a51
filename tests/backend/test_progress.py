"""Metrics by round, logs, and the stream of events."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from backend.app import create_app
from backend.routers import progress
from fedmem.contracts import JobEvent, JobLogs, JobMetrics
from fedmem.storage.jobs import RoundResult
from tests.backend.conftest import problem, running
from tests.waiting import PATIENCE, until


@pytest.fixture
def lease(client, jobs):
    """The lease of a job that has begun."""
    client.post("/jobs", json={"dataset": "tiny", "config": {"federated": {"num_rounds": 9}}})
    _, lease = jobs.claim("trainer", 600, 3)
    jobs.begin(lease, snapshot_digest="digest", last_interaction_id=0)
    return lease


def commit(jobs, lease, *numbers: int) -> None:
    for number in numbers:
        metrics = {"train": {"recommendation_loss": 1 / number}, "validation": {"HR@10": number / 100}}
        jobs.commit_round(lease, RoundResult(number, number == 1, f"{number:06d}", metrics, None))


def test_metrics_after_a_round(client, jobs, lease):
    commit(jobs, lease, 1, 2, 3)
    path = f"/jobs/{lease.job_id}/metrics"
    found = JobMetrics.model_validate(client.get(path, params={"after_round": 1}).json())
    assert [row.round for row in found.rounds] == [2, 3]
    assert found.rounds[0].metrics["train"] == {"recommendation_loss": 0.5}
    assert found.state == "running"
    assert [row["round"] for row in client.get(path, params={"limit": 1, "after_round": 0}).json()["rounds"]] == [1]
    assert client.get(path, params={"after_round": 3}).json()["rounds"] == []


def test_metrics_of_some_splits(client, jobs, lease):
    commit(jobs, lease, 1)
    path = f"/jobs/{lease.job_id}/metrics"

    def splits(*names: str) -> set[str]:
        return client.get(path, params={"split": names, "after_round": 0}).json()["rounds"][0]["metrics"].keys()

    assert splits("train") == {"train"}
    assert splits("train", "validation") == splits() == {"train", "validation"}
    problem(client.get(path, params={"split": "future"}), 422)


def test_logs_after_a_line(client, jobs, lease):
    for text in ("first", "second"):
        jobs.log(lease.job_id, "INFO", text)
    path = f"/jobs/{lease.job_id}/logs"
    lines = JobLogs.model_validate(client.get(path).json()).lines
    assert [line.message for line in lines][-2:] == ["first", "second"]
    later = client.get(path, params={"after": lines[-2].id}).json()["lines"]
    assert [line["message"] for line in later] == ["second"]
    assert len(client.get(path, params={"limit": 1}).json()["lines"]) == 1
    newest = client.get(path, params={"before": 2**63 - 1, "limit": 1}).json()["lines"]
    assert newest == [lines[-1].model_dump(mode="json")]
    earlier = client.get(path, params={"before": lines[-1].id}).json()["lines"]
    assert [line["message"] for line in earlier] == [line.message for line in lines[:-1]]


def test_no_traceback_leaves_the_house(client, jobs, lease):
    jobs.finish(lease, "failed", message="it broke", traceback="Traceback: secret")
    response = client.get(f"/jobs/{lease.job_id}")
    assert (response.json()["state"], response.json()["message"]) == ("failed", "it broke")
    assert "secret" not in response.text


def events(response: httpx.Response):
    """(event, id, data) as they come; comments left out."""
    fields = {}
    for line in response.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield fields["event"], int(fields["id"]), JobEvent.model_validate(json.loads(fields["data"]))
            fields = {}


@pytest.fixture
def server(settings):
    """The application behind a real socket, and its address."""
    with running(create_app(settings())) as found:
        yield found


def test_events_come_as_rounds_are_committed_and_end_with_the_job(server, jobs, lease):
    commit(jobs, lease, 1, 2)
    with httpx.stream("GET", f"{server[1]}/jobs/{lease.job_id}/events?after_round=0", timeout=PATIENCE) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = events(response)
        name, last, event = next(stream)
        assert (name, last, [row.round for row in event.rounds], event.job.round) == ("job", 2, [1, 2], 2)
        commit(jobs, lease, 3)
        name, last, event = next(stream)
        assert (name, last, [row.round for row in event.rounds]) == ("job", 3, [3])
        jobs.finish(lease, "failed", message="it broke")
        name, last, event = next(stream)
        assert (name, last, event.job.state, event.rounds) == ("end", 3, "failed", ())
        assert list(stream) == []


def test_nothing_is_sent_twice_and_nothing_without_news(server, jobs, lease):
    commit(jobs, lease, 1)
    with httpx.stream("GET", f"{server[1]}/jobs/{lease.job_id}/events", timeout=PATIENCE) as response:
        stream = events(response)
        next(stream)
        time.sleep(0.3)
        jobs.renew(lease, 600, 2, 5)
        name, _, event = next(stream)
        assert (name, event.rounds, event.job.clients_done) == ("job", (), 2)


def test_a_browser_that_comes_back_goes_on_where_it_was(server, jobs, lease):
    commit(jobs, lease, 1, 2, 3)
    jobs.finish(lease, "failed", message="it broke")
    headers = {"Last-Event-ID": "2"}
    with httpx.stream("GET", f"{server[1]}/jobs/{lease.job_id}/events", headers=headers, timeout=PATIENCE) as response:
        ((name, last, event),) = events(response)
    assert (name, last, [row.round for row in event.rounds]) == ("end", 3, [3])


def test_the_stream_of_a_job_that_waits_ends_and_goes_on_where_it_was(server, jobs, lease, monkeypatch):
    monkeypatch.setattr(progress, "STREAM_SECONDS", 0.0)
    commit(jobs, lease, 1, 2)
    path = f"{server[1]}/jobs/{lease.job_id}/events?after_round=0"
    with httpx.stream("GET", path, timeout=PATIENCE) as response:
        ((name, last, event),) = events(response)
    assert (name, last, [row.round for row in event.rounds]) == ("job", 2, [1, 2])
    commit(jobs, lease, 3)
    with httpx.stream("GET", path, headers={"Last-Event-ID": str(last)}, timeout=PATIENCE) as response:
        ((name, last, event),) = events(response)
    assert (name, last, [row.round for row in event.rounds]) == ("job", 3, [3])


def test_a_stream_ends_when_the_server_does(server, lease):
    with httpx.stream("GET", f"{server[1]}/jobs/{lease.job_id}/events", timeout=PATIENCE) as response:
        stream = events(response)
        next(stream)
        server[0].config.timeout_graceful_shutdown = None  # nothing else would end it
        server[0].should_exit = True
        assert list(stream) == []


def of(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def test_so_many_streams_and_no_more(settings, client, lease):
    app = create_app(settings(max_streams=2, trusted_proxies="127.0.0.1"))
    with running(app) as (_, address), httpx.Client(base_url=address, timeout=PATIENCE) as other:
        path = f"/jobs/{lease.job_id}/events"
        with other.stream("GET", path, headers=of("10.0.0.1")) as first:
            opened = [events(first)]
            next(opened[0])
            assert "of your address" in problem(other.get(path, headers=of("10.0.0.1")), 503).detail
            with other.stream("GET", path, headers=of("10.0.0.2")) as second:
                opened.append(events(second))
                next(opened[1])
                refused = other.get(path, headers=of("10.0.0.3"))
                assert "FEDMEM_MAX_STREAMS" in problem(refused, 503).detail
                assert refused.headers["retry-after"] == "5"
                assert other.get(f"/jobs/{lease.job_id}").status_code == 200
            problem(other.get("/jobs/99/events"), 404)
            until(lambda: app.state.streams.taken.total() == 1, "the second stream's end")
            with other.stream("GET", path, headers=of("10.0.0.3")) as third:
                next(events(third))
        until(lambda: not app.state.streams.taken, "the end of all streams")


def test_who_goes_away_is_not_served_on(server, lease, monkeypatch):
    asked = []
    rounds = server[0].fastapi.state.services.metrics.rounds
    monkeypatch.setattr(
        server[0].fastapi.state.services.metrics, "rounds", lambda *a, **k: asked.append(1) or rounds(*a, **k)
    )
    with httpx.stream("GET", f"{server[1]}/jobs/{lease.job_id}/events", timeout=PATIENCE) as response:
        next(events(response))
    until(lambda: not server[0].fastapi.state.streams.taken, "the end of the stream")
    before = len(asked)
    time.sleep(0.3)
    assert len(asked) == before


def test_reading_does_not_wait_for_the_database(server, jobs, lease, monkeypatch):
    """The event loop is free while a handler waits for the database in its thread."""
    store = server[0].fastapi.state.services.jobs
    get = store.get
    begun, let = threading.Event(), threading.Event()
    monkeypatch.setattr(store, "get", lambda job_id: begun.set() or (let.wait(PATIENCE) and get(job_id)))
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(httpx.get, f"{server[1]}/jobs/{lease.job_id}", timeout=PATIENCE)
        try:
            assert begun.wait(PATIENCE)
            assert httpx.get(f"{server[1]}/health/live", timeout=PATIENCE).status_code == 200
            assert not slow.done()
        finally:
            let.set()
        assert slow.result().status_code == 200
