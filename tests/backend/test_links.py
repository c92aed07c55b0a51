"""Paths in answers begin with the prefix by which a proxy reaches the API."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.links import Links
from fedmem.errors import ConfigError
from tests.backend.conftest import settings_of, wait_for_model


@pytest.fixture(scope="module")
def client(full_world) -> Iterator[TestClient]:
    with TestClient(create_app(settings_of(full_world, root_path="/api"))) as client:
        wait_for_model(client)
        yield client


def test_a_list_goes_on_below_it_and_its_pages_are_disjoint(client):
    first = client.get("/api/recommend/u01?k=3&exclude=1&exclude=2").json()
    assert first["next"] == f"/api/recommend/u01?k=3&offset=3&exclude=1&exclude=2&model={first['model_version']}"
    second = client.get(first["next"]).json()
    assert {item["item_id"] for item in first["items"]}.isdisjoint(item["item_id"] for item in second["items"])


def test_lists_of_items_and_users_do_too(client):
    assert client.get("/items?limit=1").json()["next"].startswith("/api/items?")
    assert client.get("/users?limit=1").json()["next"].startswith("/api/users?")


def test_a_picture_is_found_where_it_is_said_to_be(client):
    path = client.get("/api/items/1").json()["image_url"]
    assert path == "/api/items/1/image"
    assert client.get(path).headers["content-type"] == "image/png"


def test_the_documentation_and_its_document_do_too(client):
    assert client.get("/api/openapi.json").json()["servers"] == [{"url": "/api"}]
    assert "; /api/docs lists what there is" in client.get("/api/nothing").json()["detail"]
    page = client.get("/api/").text
    assert '"/api/openapi.json"' in page.replace("'", '"')
    assert client.get("/api/docs/files/swagger-ui.css").status_code == 200


@pytest.mark.parametrize("taken", ["/items", "/docs", "/health"])
def test_a_prefix_that_is_a_path_of_its_own_is_refused(full_world, taken):
    with pytest.raises(ConfigError, match=f"FEDMEM_ROOT_PATH = '{taken}' is where {taken}"):
        create_app(settings_of(full_world, root_path=taken))


def test_without_a_prefix_paths_are_the_apis_own():
    links = Links().naming("my data")
    assert links.picture("a/b", "cover.png") == "/items/a%2Fb/image?dataset=my+data"
    assert links.picture("a", None) is None
