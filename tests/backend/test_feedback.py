"""Kinds of feedback, and that one bad event costs only itself."""

import threading
import time

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.contracts import FeedbackEvent
from tests.backend.conftest import problem, settings_of, wait_for_model
from tests.backend.test_users import NOW

ON_BOTH_DATABASES = True


def event(item: str = "7", kind: str | None = None, user: str = "new", **more: object) -> dict:
    kinds = {} if kind is None else {"kind": kind}
    return {"user_id": user, "item_id": item, "timestamp": NOW} | kinds | more


def send(client: TestClient, *events: object):
    return client.post("/feedback", json={"events": events})


def history(client: TestClient, user: str = "new") -> list[str]:
    found = client.get(f"/users/{user}/history")
    return [one["item_id"] for one in found.json()["interactions"]] if found.is_success else []


@pytest.mark.parametrize("kind", ["interaction", "purchase", "like"])
def test_what_trains_is_in_the_history(served, kind):
    assert send(served, event("7", kind)).json()["accepted"] == 1
    assert history(served) == ["7"]


@pytest.mark.parametrize("kind", ["view", "click", "dislike", "skip"])
def test_what_only_counts_is_not(served, kind):
    found = send(served, event("7", kind))
    assert (found.status_code, found.json()["accepted"], found.json()["counted"]) == (200, 0, 1)
    assert history(served) == []
    assert f'fedmem_feedback_events_total{{dataset="tiny",kind="{kind}"}} 1.0' in served.get("/metrics").text


def test_a_rating_trains_from_the_setting_on(served_world):
    with TestClient(create_app(settings_of(served_world, positive_rating=3))) as client:
        wait_for_model(client)
        body = send(client, event("7", "rating", rating=3), event("8", "rating", rating=2.5)).json()
        assert (body["accepted"], body["counted"], history(client)) == (1, 1, ["7"])


@pytest.mark.parametrize("wrong", [event(kind="rating"), event(kind="like", rating=5), event(kind="bought"),
                                   event(weight=-1), event(recommendation_id="")])  # fmt: skip
def test_what_is_no_kind_of_event(served, wrong):
    assert "events.0" in problem(send(served, wrong), 422).detail


def test_events_are_read_beside_the_loop_that_serves_others(served, monkeypatch):
    """To read ten thousand that are wrong takes a second."""
    read, threads = FeedbackEvent.model_validate, []

    def noted(sent):
        threads.append(threading.current_thread())
        return read(sent)

    monkeypatch.setattr(FeedbackEvent, "model_validate", noted)
    loop = served.portal.call(threading.current_thread)
    assert "events.0" in problem(send(served, *[event(timestamp="then")] * 3), 422).detail
    assert send(served, event("7"), "no event").status_code == 207
    assert len(threads) == 5
    assert loop not in threads


def test_an_event_of_thousands_of_unknown_keys_is_told_in_a_sentence(served):
    detail = problem(send(served, event(**{f"key{number}": 1 for number in range(9000)})), 422).detail
    assert detail == "events.0: 9,000 keys are unknown here, the first of them 'key0'"


def test_an_iso_time_is_seconds(served):
    send(served, event(timestamp="2023-11-14T22:13:20Z"))
    (entry,) = served.get("/users/new/history").json()["interactions"]
    assert entry["timestamp"] == NOW


def test_what_has_not_happened_yet_is_refused_but_for_a_clock_that_is_ahead(served):
    ahead, wrong = time.time() + 240, time.time() + 8 * 3600
    found = send(served, event("7", timestamp=ahead), event("8", timestamp=wrong), event("9", "click", timestamp=wrong))
    assert (found.status_code, found.json()["accepted"], history(served)) == (207, 1, ["7"])
    assert [(one["index"], one["status"]) for one in found.json()["refused"]] == [(1, 422), (2, 422)]
    assert "more than 5 minutes ahead" in found.json()["refused"][0]["detail"]
    assert "'new' on item '8' is of 20" in problem(send(served, event("8", timestamp=wrong)), 422).detail


def test_one_bad_event_costs_only_itself(served):
    found = send(
        served, event("7"), event("no such"), event("8", timestamp="yesterday"), "no event", event("9", "click")
    )
    assert found.status_code == 207
    body = found.json()
    assert (body["accepted"], body["counted"]) == (1, 1)
    assert [(one["index"], one["status"]) for one in body["refused"]] == [(1, 404), (2, 422), (3, 422)]
    assert "has no item 'no such'" in body["refused"][0]["detail"]
    assert "events.2.timestamp = 'yesterday'" in body["refused"][1]["detail"]
    assert history(served) == ["7"]


def test_where_all_are_bad_the_answer_is_the_problem(served):
    detail = problem(send(served, event(timestamp=-1), event("no such", "bought")), 422).detail
    assert "events.0.timestamp" in detail
    assert "events.1.kind" in detail
    problem(send(served, event("no such"), event(timestamp=-1)), 404)


def test_who_sends_too_much_costs_no_other(served_world):
    with TestClient(create_app(settings_of(served_world, max_feedback_per_day=1))) as client:
        wait_for_model(client)
        found = send(client, event("7", user="a"), event("8", user="a"), event("7", user="b"), event("7", "click", "a"))
        assert [(one["index"], one["status"]) for one in found.json()["refused"]] == [(0, 429), (1, 429)]
        assert "'a' would have 2 new events today" in found.json()["refused"][0]["detail"]
        assert (history(client, "a"), history(client, "b")) == ([], ["7"])
        assert found.json()["counted"] == 1
        assert send(client, event("8", user="a")).json()["accepted"] == 1  # what was refused has not counted


def test_a_click_of_before_a_deletion_is_left_out(served):
    send(served, event("7", timestamp=1.0))
    assert served.delete("/users/new").status_code == 204
    assert send(served, event("7", "click", timestamp=1.0)).json()["left_out"] == 1
