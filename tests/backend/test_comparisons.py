"""GET /jobs/comparison: what sets jobs apart, and 409 for what does not compare."""

from fedmem.contracts import JobComparison
from tests.backend.conftest import problem


def queued(client, dataset="tiny", **config: object) -> int:
    return client.post("/jobs", json={"dataset": dataset, "config": config}).json()["id"]


def compared(client, *jobs: int, **parameters: object) -> JobComparison:
    response = client.get("/jobs/comparison", params={"job": jobs, **parameters})
    assert response.status_code == 200, response.text
    return JobComparison.model_validate(response.json())


def test_what_differs_is_named_beside_what_the_models_reach(served):
    job = queued(served, seed=3)
    found = compared(served, 1, job)
    assert (found.jobs, found.dataset, found.note) == ((1, job), "tiny", None)
    assert found.test["HR@10"] == (0.5, None)
    differing = {one.name: one.values for one in found.differences}
    assert differing["seed"][1] == 3
    assert differing["snapshot"][0] == served.get("/jobs/1").json()["snapshot_digest"]
    assert compared(served, 1, job, metric="HR@10").metrics == ("HR@10",)


def test_what_does_not_compare_is_refused(client):
    first, other = queued(client), queued(client, dataset="other")
    ask = "/jobs/comparison"
    assert "'tiny' and job 2 on 'other'" in problem(client.get(ask, params={"job": [first, other]}), 409).detail
    asked = {"job": [first, queued(client)], "metric": "NDCG@7"}
    assert "does not measure NDCG@7" in problem(client.get(ask, params=asked), 409).detail
    assert "each once" in problem(client.get(ask, params={"job": [first, first]}), 422).detail
    assert "there is no job 999" in problem(client.get(ask, params={"job": [first, 999]}), 404).detail
    assert "job" in problem(client.get(ask, params={"job": [first]}), 422).detail
