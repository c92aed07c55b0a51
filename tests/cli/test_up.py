"""What ``fedmem up`` prints once a model is in service: a request that is answered here."""

import httpx
import pytest

from cli.up import Address, request_of

ONE = {"dataset": "films", "in_service": [{"dataset": "films"}]}
TWO = {"dataset": None, "in_service": [{"dataset": "books"}, {"dataset": "films"}]}


@pytest.mark.parametrize(
    ("ready", "closed", "said"),
    [
        (ONE, False, "curl 'http://127.0.0.1:8600/recommend/u%201?k=5'"),
        (ONE, True, "curl -H 'X-API-Key: ...' 'http://127.0.0.1:8600/recommend/u%201?k=5'"),
        (TWO, False, "curl 'http://127.0.0.1:8600/recommend/u%201?dataset=books&k=5'"),
    ],
)
def test_a_request_names_what_it_needs_here(monkeypatch, ready, closed, said):
    def get(url: str, **options: object) -> httpx.Response:
        path = httpx.URL(url).path
        if path == "/users":
            assert options["params"] == {"limit": 1, "dataset": ready["in_service"][0]["dataset"]}
            return httpx.Response(200, json={"users": [{"user_id": "u 1"}]})
        assert path == "/datasets"
        return httpx.Response(401 if closed else 200)

    monkeypatch.setattr(httpx, "get", get)
    assert request_of(Address("127.0.0.1", 8600), ready) == said
