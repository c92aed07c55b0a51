"""A query that is read at once is read as FastAPI reads it."""

from typing import Annotated
from urllib.parse import quote, urlencode

import pytest
from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from backend import query_route
from backend.errors import add_error_handlers
from backend.query_route import QueryRoute, list_fields
from backend.routers.recommend import KnownUserQuery, UserId

NAMES = tuple(KnownUserQuery.model_fields)
VALUES = st.one_of(
    st.sampled_from(["", "0", "1", "10", "1001", "-1", "1.0", "1.5", " 7", "true", "no", "ON", "x", "a\nb", "Comedy"]),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
QUERIES = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8)


async def echo(request: Request, user_id: UserId, asked: Annotated[KnownUserQuery, Query()]) -> JSONResponse:
    return JSONResponse([user_id, asked.model_dump()])


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    app.router.add_api_route("/quick/{user_id:path}", echo, route_class_override=QueryRoute)
    app.router.add_api_route("/usual/{user_id:path}", echo)
    add_error_handlers(app)
    with TestClient(app) as client:
        yield client


@given(user=st.one_of(st.sampled_from(["u", "a/b", "\x00", "x" * 513]), st.text(min_size=1, max_size=5)), query=QUERIES)
def test_both_ways_of_reading_agree(client, user, query):
    path = f"{quote(user.encode('utf-8', 'replace'), safe='')}?{urlencode(query)}"
    quick, usual = client.get(f"/quick/{path}"), client.get(f"/usual/{path}")
    assert (quick.status_code, quick.json()) == (usual.status_code, usual.json())


def test_both_are_documented_alike(client):
    paths = client.get("/openapi.json").json()["paths"]
    quick, usual = (paths[f"/{name}/{{user_id}}"]["get"]["parameters"] for name in ("quick", "usual"))
    assert quick == usual
    assert [parameter["name"] for parameter in quick] == ["user_id", *KnownUserQuery.model_fields]


def test_of_a_parameter_given_twice_the_last_counts_unless_it_is_a_list(client):
    _, asked = client.get("/quick/u?k=3&k=4&exclude=a&exclude=b").json()
    assert (asked["k"], asked["exclude"]) == (4, ["a", "b"])
    assert list_fields(KnownUserQuery) == {"exclude", "tag"}


def test_what_is_not_known_is_refused_with_all_else_that_is_wrong(client):
    detail = client.get("/quick/u?kk=3&offset=-1").json()["detail"]
    assert detail.startswith("kk = '3': there is no such parameter (did you mean 'k'?)")
    assert client.get("/usual/u?kk=3").status_code == 200, "FastAPI passes it over"


def test_a_route_of_another_form_is_refused_when_it_is_made():
    async def two(request: Request, a: Annotated[str, Path()], k: int = 1) -> JSONResponse:
        raise NotImplementedError

    with pytest.raises(AssertionError, match="one model"):
        FastAPI().router.add_api_route("/{a}", two, route_class_override=QueryRoute)


def test_nearest_names_are_sought_for_the_unknown_parameters_that_are_told(client, monkeypatch):
    sought = []
    monkeypatch.setattr(query_route, "get_close_matches", lambda name, *_, **__: sought.append(name) or ["k"])
    detail = client.get("/quick/u?" + "&".join(f"k{i}=1" for i in range(2000))).json()["detail"]
    assert sought == ["k0", "k1", "k2"]
    assert detail.startswith("k0 = '1': there is no such parameter (did you mean 'k'?); k1 = ")
    assert detail.endswith("(and 1997 more)")
