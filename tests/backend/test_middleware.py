"""Request ids, the access log, limits, and what becomes of a failure, around a small application."""

import asyncio
import json
import logging

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from backend.concurrency_limit import ConcurrencyLimit
from backend.errors import add_error_handlers
from backend.links import Links
from backend.middleware import RequestLimits, RequestObserver
from backend.telemetry import HttpMetrics
from fedmem.contracts import Problem
from fedmem.logs import JsonLines
from web.rate_limit import RateLimit

LINES = JsonLines("backend")


def few() -> ConcurrencyLimit:
    return ConcurrencyLimit("requests are being answered", 3, 2)


def small_app(rate: RateLimit | None = None, answered: ConcurrencyLimit | None = None, longest: int = 100) -> FastAPI:
    app = FastAPI()
    app.state.metrics, app.state.links = HttpMetrics.create(), Links()

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        if name == "broken":
            raise RuntimeError("the secret")
        return name

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.post("/numbers")
    async def numbers(given: dict[str, int]) -> int:
        return len(given)

    @app.get("/health/live")
    async def live() -> str:
        return "live"

    add_error_handlers(app)
    app.add_middleware(RequestLimits, max_body_bytes=longest, longest={}, rate=rate, answered=answered or few())
    app.add_middleware(RequestObserver, metrics=app.state.metrics)
    return app


@pytest.fixture
def client():
    return TestClient(small_app())


@pytest.fixture
def lines(caplog):
    """The log so far, as the objects that are written."""
    caplog.set_level(logging.INFO, "backend")
    return lambda: [json.loads(LINES.format(record)) for record in caplog.records if "backend" in record.name]


def problem(response) -> Problem:
    assert response.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate(response.json())
    assert found.status == response.status_code
    assert found.request_id == response.headers["x-request-id"]
    return found


def test_a_request_id_is_made(client):
    first, second = (client.get("/things/a").headers["x-request-id"] for _ in range(2))
    assert first != second
    assert len(first) == 16


@pytest.mark.parametrize(("sent", "kept"), [("trace-7.a:b_C", True), ("x" * 129, False), ("a b", False), ('"', False)])
def test_a_clients_id_is_kept_where_it_is_harmless(client, sent, kept):
    found = client.get("/things/a", headers={"X-Request-ID": sent}).headers["x-request-id"]
    assert (found == sent) is kept


def test_a_line_a_request_with_the_template_and_not_the_path(client, lines):
    response = client.get("/things/stranger?token=hidden", headers={"X-API-Key": "the-key"})
    (line,) = lines()
    assert {name: line[name] for name in ("method", "route", "status", "level")} == {
        "method": "GET",
        "route": "/things/{name}",
        "status": 200,
        "level": "INFO",
    }
    assert line["request_id"] == response.headers["x-request-id"]
    assert line["ms"] >= 0
    assert not any(text in json.dumps(line) for text in ("stranger", "hidden", "the-key"))


def test_a_failure_is_a_problem_and_its_trace_is_in_the_log_only(client, lines):
    response = client.get("/things/broken")
    assert problem(response).status == 500
    assert "secret" not in response.text
    failure, access = lines()
    assert "RuntimeError: the secret" in failure["exception"]
    assert failure["request_id"] == access["request_id"] == response.headers["x-request-id"]
    assert access["status"] == 500


def test_answers_are_counted_by_template(client):
    for path in ("/things/a", "/things/b", "/nothing", "/other", "/things/broken"):
        client.get(path)
    registry = client.app.state.metrics.registry

    def count(route: str, status: int) -> float | None:
        labels = {"method": "GET", "route": route, "status": str(status)}
        return registry.get_sample_value("fedmem_http_requests_total", labels)

    assert (count("/things/{name}", 200), count("/things/{name}", 500), count("(no route)", 404)) == (2, 1, 2)
    assert registry.get_sample_value("fedmem_http_request_seconds_count", {"method": "GET", "route": "(no route)"}) == 2


def test_an_invented_method_makes_no_label(client):
    assert client.request("BREW", "/things/a").status_code == 405
    labels = {"method": "OTHER", "route": "/things/{name}", "status": "405"}
    assert client.app.state.metrics.registry.get_sample_value("fedmem_http_requests_total", labels) == 1


def test_the_longest_body_passes_and_a_longer_one_is_refused(client):
    assert client.post("/echo", content=b"x" * 100).json() == 100
    response = client.post("/echo", content=b"x" * 101)
    assert response.status_code == 413
    assert "100 bytes" in problem(response).detail


def test_a_long_body_without_a_length_is_refused_as_it_arrives(client):
    def pieces():
        for _ in range(5):
            yield b"x" * 30

    response = client.post("/echo", content=pieces())
    assert response.status_code == 413
    assert "100 bytes" in problem(response).detail


def test_who_asks_too_often_waits():
    client = TestClient(small_app(RateLimit(2, clock=lambda: 0.0)))
    assert [client.get("/things/a").status_code for _ in range(3)] == [200, 200, 429]
    response = client.get("/things/a")
    assert response.headers["retry-after"] == "30"
    assert "2 requests a minute" in problem(response).detail
    assert client.get("/health/live").status_code == 200


def test_a_body_that_is_refused_is_charged_by_its_bytes():
    long, rate = "k" * 39_000, RateLimit(6, clock=lambda: 0.0)
    client = TestClient(small_app(rate, longest=40_000))
    assert client.post("/numbers", json={long: 1}).status_code == 200
    assert client.post("/numbers", json={"k": "one"}).status_code == 422
    assert client.post("/numbers", json={long: "one"}).status_code == 422
    assert client.get("/things/a").status_code == 429


def test_other_protocols_pass():
    """The lifespan's messages go through both layers."""
    seen = []

    async def inner(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(
        RequestObserver(RequestLimits(inner, 1, {}, None, few()), HttpMetrics.create())(
            {"type": "lifespan"}, None, None
        )
    )
    assert seen == ["lifespan"]


def test_one_address_may_not_have_all_requests_that_are_answered():
    answered = few()
    client = TestClient(small_app(answered=answered))
    with answered.slot("testclient"), answered.slot("testclient"):
        refused = client.get("/things/a")
        assert "2 requests are being answered of your address" in problem(refused).detail
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert client.get("/health/live").status_code == 200
        assert TestClient(small_app(answered=answered), client=("another", 1)).get("/things/a").status_code == 200
    assert client.get("/things/a").status_code == 200
    assert not answered.taken
