"""Answers are noted, and what became of them is told."""

import time
from collections import deque
from contextlib import nullcontext

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from backend.app import create_app
from backend.impressions import Impressions, is_sampled, new_id
from backend.online import rate
from fedmem.errors import DataError, StorageError
from fedmem.serving import Question
from tests.backend.conftest import problem, settings_of, wait_for_model
from tests.backend.test_feedback import event, send
from tests.waiting import until

ON_BOTH_DATABASES = True

ALL = {"impressions": 1.0}


@pytest.fixture
def noting(served_world):
    with TestClient(create_app(settings_of(served_world, **ALL))) as client:
        wait_for_model(client)
        yield client


def evaluation(client, **query):
    client.app.state.impressions.flush()
    return client.get("/evaluation/online", params=query).raise_for_status().json()


def test_a_click_and_a_hit_are_told_by_model_strategy_and_position(noting):
    first = noting.get("/recommend/u03?k=3").json()
    noting.get("/recommend/stranger?k=2")
    now = {"user": "u03", "recommendation_id": first["recommendation_id"], "timestamp": time.time()}
    second, third = (item["item_id"] for item in first["items"][1:])
    send(noting, event(second, "click", **now), event(third, "purchase", weight=9.5, **now))
    found = evaluation(noting)
    (version,) = found["by_version"]
    assert (version["answers"], version["clicks"], version["hits"], version["worth"]) == (2, 1, 1, 9.5)
    assert version["hit_rate"] == pytest.approx({"value": 0.5, "low": 0.0945, "high": 0.9055}, abs=1e-4)
    assert {group["name"]: group["answers"] for group in found["by_strategy"]} == {"model": 1, "popularity": 1}
    positions = {group["name"]: (group["answers"], group["clicks"], group["hits"]) for group in found["by_position"]}
    assert positions == {"1": (2, 0, 0), "2": (2, 1, 0), "3": (1, 0, 1)}


def test_a_following_page_goes_on_with_the_positions(noting):
    first = noting.get("/recommend/u03?k=2").json()
    noting.get(first["next"])
    assert [group["name"] for group in evaluation(noting)["by_position"]] == ["1", "2", "3", "4"]


def test_of_a_batch_known_users_are_noted_and_histories_never(noting):
    body = {"requests": [{"user_id": "u03", "k": 2}, {"history": ["1", "2"], "k": 2}]}
    known, sent = noting.post("/recommend/batch", json=body).json()["answers"]
    assert (len(known["recommendation_id"]), sent["recommendation_id"]) == (32, None)
    assert noting.post("/recommend", json={"history": ["1"]}).json()["recommendation_id"] is None
    assert evaluation(noting)["by_version"][0]["answers"] == 1


def test_what_an_operator_has_explained_is_not_noted(noting):
    noting.get("/recommend/u03?explain=true")
    assert evaluation(noting)["by_version"] == []


def test_an_id_that_no_user_can_have_is_not_noted(noting):
    for user, noted in (("s" * 512, 1), ("s" * 6000, 1)):
        assert noting.get(f"/recommend/{user}?k=2").status_code == 200
        assert evaluation(noting)["by_version"][0]["answers"] == noted


def test_by_default_nothing_is_noted(served):
    assert served.get("/recommend/u03").json()["recommendation_id"]
    found = evaluation(served)
    assert (found["share"], found["by_version"], found["by_position"]) == (0.0, [], [])


def test_the_export_holds_what_was_noted_and_deletion_takes_it(noting, served_world):
    answer = noting.get("/recommend/unmistakable?k=2").json()
    noting.app.state.impressions.flush()
    shown = noting.get("/users/unmistakable/history").json()["impressions"]
    assert [(one["recommendation_id"], one["position"]) for one in shown] == [
        (answer["recommendation_id"], n) for n in (1, 2)
    ]
    noting.get("/recommend/unmistakable")  # still in memory when the user goes
    assert noting.delete("/users/unmistakable").status_code == 204
    noting.app.state.impressions.flush()
    problem(noting.get("/users/unmistakable/history"), 404)
    files = [*served_world.database.parent.glob("fedmem.db*")]

    def gone() -> bool:
        noting.app.state.services.keeper.look()
        return not any(b"unmistakable" in file.read_bytes() for file in files if file.exists())

    until(gone, "files without the deleted user")


def test_reading_needs_the_key_that_writes(served_world):
    with TestClient(create_app(settings_of(served_world, api_key="k", **ALL))) as client:
        wait_for_model(client)
        problem(client.get("/evaluation/online"), 401)
        assert client.get("/evaluation/online", headers={"X-API-Key": "k"}).is_success


def test_prometheus_has_the_rates_with_their_intervals(noting):
    answer = noting.get("/recommend/u03?k=1").json()
    send(noting, event(answer["items"][0]["item_id"], "click", user="u03", timestamp=time.time()))
    impressions = noting.app.state.impressions
    impressions._tidied -= 100
    noting.app.state.services.note()
    text = noting.get("/metrics").text
    assert 'fedmem_online_answers{by="position",dataset="tiny",name="1"} 1.0' in text
    assert 'fedmem_online_rate{bound="high",by="strategy",dataset="tiny",name="model",outcome="click"} 1.0' in text


class Away:
    """A store whose database is away, until it is not."""

    def __init__(self):
        self.away, self.stored = True, []

    def add(self, lists):
        if self.away:
            raise StorageError("away")
        self.stored += lists


def test_what_cannot_be_stored_now_is_stored_later(settings, recommender):
    store = Away()
    impressions = Impressions.create(store, settings(**ALL), CollectorRegistry())
    impressions.offer(new_id(), "u03", recommender.answer(Question("u03")))
    for away, stored in ((True, 0), (False, 1)):
        store.away = away
        with pytest.raises(StorageError) if away else nullcontext():
            impressions.flush()
        assert len(store.stored) == stored


class Choosy(Away):
    """A store that cannot hold some user."""

    def __init__(self):
        super().__init__()
        self.away = False

    def add(self, lists):
        if any(one.user_id == "u04" for one in lists):
            raise DataError("the database cannot hold a value")
        super().add(lists)


def test_an_answer_that_the_database_refuses_keeps_no_other_back(settings, recommender):
    store, registry = Choosy(), CollectorRegistry()
    impressions = Impressions.create(store, settings(**ALL), registry)
    for user in ("u01", "u02", "u04", "u03", "u05"):
        impressions.offer(new_id(), user, recommender.answer(Question("u03")))
    impressions.flush()
    assert [one.user_id for one in store.stored] == ["u01", "u02", "u03", "u05"]
    assert registry.get_sample_value("fedmem_impressions_lost_total") == 1
    impressions.flush()
    assert len(store.stored) == 4


class Growing(deque):
    """Takes up an answer, four in all, while another is read, as another thread's."""

    left = 4

    def _read(self, one):
        if self.left:
            self.left -= 1
            self.append(one)
        return one

    def __iter__(self):
        return (self._read(one) for one in super().__iter__())

    def __getitem__(self, place):
        return self._read(super().__getitem__(place))


def test_answers_that_come_while_others_are_stored_disturb_nothing(settings, recommender):
    store = Away()
    store.away = False
    impressions = Impressions.create(store, settings(**ALL), CollectorRegistry())
    impressions._waiting = Growing()
    impressions.offer(new_id(), "u03", recommender.answer(Question("u03")))
    impressions.flush()
    assert len(store.stored) == 5
    assert not impressions._waiting


def test_what_comes_faster_than_it_can_be_stored_is_counted(noting, monkeypatch):
    monkeypatch.setattr("backend.impressions.WAITING", 0)
    noting.get("/recommend/u03")
    assert "fedmem_impressions_lost_total 1.0" in noting.get("/metrics").text


def test_the_share_of_the_sample():
    names = [new_id() for _ in range(4000)]
    sampled = sum(is_sampled(name, 0.25) for name in names)
    assert abs(sampled - 1000) < 6 * (4000 * 0.25 * 0.75) ** 0.5
    assert all(is_sampled(name, 1.0) and not is_sampled(name, 0.0) for name in names)


def test_wilsons_interval():
    """0 of 10 and 5 of 10, by the formula."""
    none, half = rate(0, 10), rate(5, 10)
    assert (none.low, none.high) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert (half.low, half.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert rate(0, 0) is None
