"""The global abstract memory over HTTP."""

from fedmem.checkpoint import RunDirectory
from fedmem.contracts import ItemMap, PrototypeRound, RecommendationResponse, Selection
from fedmem.serving import Question
from tests.backend.conftest import ITEMS, problem


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
    problem(served.get("/memory/prototypes/0/recommendations?dataset=other"), 409)


def test_a_model_without_prototypes_recommends_by_none(served, monkeypatch):
    monkeypatch.setattr(served.app.state.served.current.recommender.scorer, "global_memory", None)
    detail = problem(served.get("/memory/prototypes/0/recommendations"), 409).detail
    assert "fedmem.enable_prototype_aggregation=true" in detail


def test_a_job_without_prototypes(client):
    client.post("/jobs", json={"dataset": "tiny"})
    assert "first validation" in problem(client.get("/memory/prototypes?job=1"), 404).detail
    problem(client.get("/memory/map?job=1"), 404)
    problem(client.get("/memory/prototypes"), 503)
