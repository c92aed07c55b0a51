"""The global abstract memory over HTTP."""

import itertools
from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient

from backend import dependencies
from backend.app import create_app
from fedmem.checkpoint import RunDirectory
from fedmem.contracts import (
    ItemMap,
    PrototypeRound,
    RecommendationResponse,
    RowGrowth,
    ScoreShares,
    Selection,
    TransitionRows,
)
from fedmem.serving import Question, TransitionGrowth
from tests.backend.conftest import ITEMS, ROUNDS, SHARES, problem, settings_of, wait_for_model


def test_prototypes_have_masses_places_and_titles(served, recommender):
    found = PrototypeRound.model_validate(served.get("/memory/prototypes").json())
    assert (found.job_id, found.round, found.rounds, found.collapse) == (1, 6, (2, 4, 6), 0.5)
    assert len(found.prototypes) == 3
    assert abs(sum(prototype.mass for prototype in found.prototypes) - 1) < 1e-6
    near = [nearest for prototype in found.prototypes for nearest in prototype.nearest]
    assert near
    assert all(nearest.title == f"Film {nearest.item_id}" for nearest in near)


def test_of_a_round_a_job_or_a_version(served, recommender):
    assert served.get("/memory/prototypes?round=4").json()["round"] == 4
    assert served.get("/memory/prototypes?job=1&round=2").json()["round"] == 2
    assert "2, 4, 6" in problem(served.get("/memory/prototypes?round=3"), 404).detail
    problem(served.get("/memory/prototypes?job=2"), 404)
    problem(served.get("/memory/prototypes?version=job-9-round-9"), 404)
    by_version = served.get("/memory/prototypes", params={"version": recommender.model_version, "round": 4})
    assert by_version.json()["round"] == 4


def test_the_map_of_items(served, served_world):
    found = ItemMap.model_validate(served.get("/memory/map").json())
    drawn = RunDirectory(served_world.data_dir / "jobs" / "1").read_map()
    assert found.job_id == 1
    assert len(found.items) == ITEMS - 2  # of two the tiny features have no text
    assert found == ItemMap.model_validate(served.get("/memory/map?job=1").json())
    first = found.items[0]
    assert (first.point.x, first.point.y) == tuple(drawn.points[0].tolist())


@pytest.mark.parametrize(("job", "status"), [(1, 200), (99, 404)])
def test_reading_a_job_is_charged_by_its_time(served_world, monkeypatch, job, status):
    times = itertools.count(0, 0.5)  # a turn takes as long as fifty requests
    monkeypatch.setattr(dependencies, "monotonic", lambda: next(times))
    with TestClient(create_app(settings_of(served_world, rate_limit=5))) as client:
        assert client.get(f"/memory/map?job={job}").status_code == status
        problem(client.get("/jobs"), 429)


@pytest.mark.parametrize(
    "path",
    ["memory/transitions?k=100&followers=100", "memory/prototypes/0/recommendations?k=1000", "items/1/similar?k=1000"],
)
def test_what_answers_hold_is_charged(served_world, path):
    with TestClient(create_app(settings_of(served_world, rate_limit=5))) as client:
        wait_for_model(client)
        assert client.get(f"/{path}").is_success
        problem(client.get("/jobs"), 429)


def test_what_one_prototype_recommends(served, recommender):
    for index in range(3):
        response = served.get(f"/memory/prototypes/{index}/recommendations", params={"k": 4})
        found = RecommendationResponse.model_validate(response.json())
        expected = recommender.with_prototype(index).answer(Question(selection=Selection(k=4)))
        assert [item.item_id for item in found.items] == [scored.item.item_id for scored in expected.items]
        assert [item.title for item in found.items] == [f"Film {item.item_id}" for item in found.items]
        assert (found.user_id, found.strategy, found.next) == (None, "prototypes", None)
        assert found.model_version == recommender.model_version
    assert "it has 0 to 2" in problem(served.get("/memory/prototypes/3/recommendations"), 404).detail
    problem(served.get("/memory/prototypes/x/recommendations"), 422)
    problem(served.get("/memory/prototypes/0/recommendations?model=job-9-round-9"), 404)
    problem(served.get("/memory/prototypes/0/recommendations?dataset=other"), 503)


def test_a_model_without_prototypes_recommends_by_none(served, monkeypatch):
    monkeypatch.setattr(served.app.state.served.loaded("tiny").recommender.scorer, "global_memory", None)
    detail = problem(served.get("/memory/prototypes/0/recommendations"), 409).detail
    assert "fedmem.enable_prototype_aggregation=true" in detail


def rows_of(served, **query):
    return TransitionRows.model_validate(served.get("/memory/transitions", params=query).json())


def test_the_strongest_rows_of_the_transition_memory(served, recommender):
    table = recommender.scorer.transitions
    found = rows_of(served, k=3, followers=2)
    assert (found.model_version, found.dataset, found.round) == (recommender.model_version, "tiny", recommender.round)
    assert found.strength == recommender.scorer.strengths.general > 0
    assert len(found.rows) == 3
    weights = [row.weight for row in found.rows]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == max(float(row.sum()) for row in table.weights[table.taken >= 5])
    first = found.rows[0]
    assert first.title == f"Film {first.item_id}"
    assert first.taken == table.taken[recommender.catalogue.index(first.item_id)]
    assert len(first.followers) == 2
    assert first.followers[0].weight >= first.followers[1].weight > 0
    assert rows_of(served, item_id=first.item_id, followers=2).rows == (first,)


def test_what_few_interactions_stand_behind_is_not_shown(served):
    for user in range(6):
        served.delete(f"/users/u{user:02d}")
    table = served.app.state.served.loaded("tiny").recommender.scorer.transitions
    found = rows_of(served, k=100, followers=100).rows
    rare = {str(item) for item in range(1, ITEMS + 1) if table.taken[item] < 5}
    assert rare, "there are some, and rows of others lead to them"
    assert any(str(item) in rare for item in table.items[table.taken >= 5].ravel())
    assert len(found) == ITEMS - len(rare)
    assert not rare & {row.item_id for row in found}
    assert not rare & {item.item_id for row in found for item in row.followers}
    assert rows_of(served, item_id=min(rare)).rows == ()


def test_transitions_that_are_not_there(served, monkeypatch):
    problem(served.get("/memory/transitions?item_id=no-such-item"), 404)
    problem(served.get("/memory/transitions?k=101"), 422)
    problem(served.get("/memory/transitions?model=job-9-round-9"), 404)
    monkeypatch.setattr(served.app.state.served.loaded("tiny").recommender.scorer, "transitions", None)
    assert "disable_transitions=false" in problem(served.get("/memory/transitions"), 409).detail


def test_a_job_without_prototypes(client):
    client.post("/jobs", json={"dataset": "tiny"})
    assert "first validation" in problem(client.get("/memory/prototypes?job=1"), 404).detail
    problem(client.get("/memory/map?job=1"), 404)
    problem(client.get("/memory/prototypes"), 503)
    problem(client.get("/memory/transitions"), 503)


def test_how_a_row_grew(served, served_world):
    item_id = rows_of(served, k=1).rows[0].item_id
    answer = served.get("/memory/transitions/growth", params={"item_id": item_id, "followers": 2})
    found = RowGrowth.model_validate(answer.json())
    growth = TransitionGrowth.read(served_world.data_dir / "jobs" / "1")
    assert found == growth.of(1, item_id, ROUNDS, 2)
    assert found.rounds
    assert len(found.followers) == 2
    problem(served.get("/memory/transitions/growth?item_id=no-such-item"), 404)
    problem(served.get("/memory/transitions/growth"), 422)


def test_growth_that_is_not_there_yet(client):
    client.post("/jobs", json={"dataset": "tiny"})
    assert "no round" in problem(client.get("/memory/transitions/growth?item_id=1&job=1"), 404).detail
    problem(client.get("/memory/transitions/growth?item_id=1"), 503)


def test_the_shares_of_a_tested_model(served, recommender):
    found = ScoreShares.model_validate(served.get("/memory/shares").json())
    assert found == ScoreShares(job_id=1, model_version=recommender.model_version, shares=SHARES)
    assert found == ScoreShares.model_validate(served.get("/memory/shares?job=1").json())
    problem(served.get("/memory/shares?job=9"), 404)


def test_shares_that_are_not_there_yet(client):
    client.post("/jobs", json={"dataset": "tiny"})
    assert "when all rounds are done" in problem(client.get("/memory/shares?job=1"), 404).detail
    problem(client.get("/memory/shares"), 503)


READ_FROM_DISK = ("/memory/map", "/memory/prototypes", "/memory/transitions/growth?item_id=1")


@pytest.mark.parametrize("path", READ_FROM_DISK)
def test_what_a_job_started_from_is_read_by_one_request_at_a_time(served, monkeypatch, path):
    state, read, seen = served.app.state, RunDirectory.read_dataset, []
    monkeypatch.setattr(RunDirectory, "read_dataset", lambda run: seen.append(state.reading_job.value) or read(run))
    assert served.get(path).status_code == 200
    assert (seen, state.reading_job.value) == ([0], 1)
    with ExitStack() as stack:
        for _ in range(state.job_places.limit_per_address):
            stack.enter_context(state.job_places.slot("testclient"))
        assert "of your address" in problem(served.get(path), 503).detail
    assert served.get(path).status_code == 200


@pytest.mark.parametrize("path", READ_FROM_DISK)
def test_features_are_not_read_for_what_shows_none(served, served_world, path):
    (served_world.data_dir / "jobs" / "1" / "features.safetensors").unlink()
    assert served.get(path).status_code == 200
