"""The HTTP interface: answers as contracts say, errors as problem+json."""

import asyncio

import httpx
import pytest

from backend.app import MAX_K, create_app
from fedmem.contracts import Problem, RecommendationResponse
from fedmem.serving import Recommender


@pytest.fixture(scope="module")
def recommender(run) -> Recommender:
    return Recommender.load(run)


@pytest.fixture(scope="module")
def app(recommender):
    return create_app(recommender)


@pytest.fixture
def request_to(app):
    """``request_to("/recommend/3", k=2)`` -> response, through the application and no socket."""

    def send(path: str, method: str = "GET", **query: object) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, params=query)

        return asyncio.run(call())

    return send


def problem(response: httpx.Response) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate(response.json())
    assert found.status == response.status_code
    return found


def test_an_answer_is_what_the_recommender_says(request_to, recommender):
    response = request_to("/recommend/3", k=4)
    assert response.status_code == 200
    found = RecommendationResponse.model_validate(response.json())
    assert found == recommender.recommend("3", 4).response("3")
    assert len(found.items) == 4
    assert (found.user_id, found.strategy, found.round) == ("3", "model", recommender.round)


def test_ten_by_default(request_to):
    assert len(request_to("/recommend/3").json()["items"]) == 10


def test_somebody_unknown_is_served_from_the_global_memory(request_to):
    response = request_to("/recommend/nobody at all", k=3)
    assert response.status_code == 200
    assert (response.json()["user_id"], response.json()["strategy"]) == ("nobody at all", "prototypes")
    assert len(response.json()["items"]) == 3


def test_an_id_may_hold_a_slash(request_to):
    assert request_to("/recommend/a/b").json()["user_id"] == "a/b"


def test_what_goes_wrong_inside_is_a_problem_without_its_trace(request_to, recommender, monkeypatch):
    def broken(user_id: str, k: int) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(recommender, "recommend", broken)
    response = request_to("/recommend/3")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert problem(response).title == "Internal Server Error"


def test_more_than_the_catalogue_is_the_catalogue(request_to):
    assert len(request_to("/recommend/nobody", k=MAX_K).json()["items"]) == 30


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1, "many", 1.5])
def test_a_wrong_k_is_a_problem_that_names_it(request_to, k):
    response = request_to("/recommend/3", k=k)
    assert response.status_code == 422
    assert problem(response).detail.startswith(f"k = '{k}'")


@pytest.mark.parametrize(("path", "method", "status"), [("/nothing", "GET", 404), ("/recommend/3", "PUT", 405)])
def test_what_there_is_not_is_a_problem(request_to, path, method, status):
    response = request_to(path, method)
    assert response.status_code == status
    assert problem(response).title in ("Not Found", "Method Not Allowed")


def test_it_is_alive(request_to):
    assert request_to("/health/live").json() == {"status": "live"}


def test_the_interface_documents_itself(request_to):
    document = request_to("/openapi.json").json()
    assert "/recommend/{user_id}" in document["paths"]
    assert {"RecommendationResponse", "RecommendedItem", "Problem"} <= document["components"]["schemas"].keys()
    assert request_to("/docs").status_code == 200


def test_requests_at_once_do_not_mix(app, recommender):
    """Each answer is its own user's."""

    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await asyncio.gather(*(client.get(f"/recommend/{user % 12}?k=5") for user in range(48)))

    for user, response in enumerate(asyncio.run(all_at_once())):
        user_id = str(user % 12)
        expected = recommender.recommend(user_id, 5).response(user_id)
        assert RecommendationResponse.model_validate(response.json()) == expected
