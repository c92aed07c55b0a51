"""Files are uploaded, looked at and imported over HTTP."""

import contextlib
import math
import os
from unittest.mock import Mock

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.storage import imports
from fedmem.storage.engine import reading, writing
from tests.backend.conftest import problem
from tests.waiting import until

ORDERS = b"user_id,item_id,timestamp\n" + b"".join(b"v%d,%d,%d\n" % (n % 9, n % 7, n) for n in range(90))
NOWHERE = "0" * 32


def put(client, content=ORDERS, filename="orders.csv", **headers):
    return client.post("/uploads", params={"filename": filename}, content=content, headers=headers)


def ended(client, upload_id):
    """What is told of an upload once its process has ended."""

    def look():
        found = client.get(f"/uploads/{upload_id}").json()
        return found["state"] not in ("reading", "writing") and found

    return until(look, "the end of the process", pause=0.1)


def test_a_file_is_uploaded_looked_at_and_imported(client):
    answer = put(client)
    upload = answer.json()
    path = f"/uploads/{upload['upload_id']}"
    assert (answer.status_code, answer.headers["location"]) == (201, path)
    assert (upload["filename"], upload["size"], upload["state"]) == ("orders.csv", len(ORDERS), "uploaded")
    asked = client.post(f"{path}/preview", json={})
    assert (asked.status_code, asked.json()["state"]) == (202, "reading")
    preview = ended(client, upload["upload_id"])["preview"]
    assert (preview["users"], preview["items"], preview["interactions"]) == (9, 7, 90)
    assert preview["first"][0] == {"user_id": "v0", "item_id": "0", "title": "0", "timestamp": 0.0}
    assert client.post(f"{path}/import", json={"dataset": "shop"}).status_code == 202
    assert ended(client, upload["upload_id"])["imported"]["new_interactions"] == 90
    shop = next(one for one in client.get("/datasets").json()["datasets"] if one["name"] == "shop")
    assert (shop["users"], shop["source"]) == (9, "orders.csv, uploaded")
    detail = problem(client.post(f"{path}/preview", json={}), 404).detail
    assert "is not there any more" in detail
    assert client.delete(path).status_code == client.delete(path).status_code == 204


def test_one_that_is_read_is_ended_by_its_removal(client, world):
    rows = b"".join(b"v%d,%d,%d\n" % (n % 9_973, n, n) for n in range(1_500_000))
    upload_id = put(client, b"user_id,item_id,timestamp\n" + rows).json()["upload_id"]
    assert client.post(f"/uploads/{upload_id}/import", json={"dataset": "large"}).json()["state"] == "writing"
    assert [one["upload_id"] for one in client.get("/uploads").json()["uploads"]] == [upload_id]
    until(
        lambda: client.delete(f"/uploads/{upload_id}").status_code == 204, "its end, which may take a busy machine long"
    )
    problem(client.get(f"/uploads/{upload_id}"), 404)
    assert client.get("/uploads").json() == {"uploads": []}
    assert "large" not in {one["name"] for one in client.get("/datasets").json()["datasets"]}
    assert put(client).status_code == 201


def test_what_was_cut_off_is_cleared_away_though_answers_cannot_be(client, world, monkeypatch):
    services = client.app.state.services
    upload_id = put(client).json()["upload_id"]
    os.utime(world.data_dir / "uploads" / upload_id, (0, 0))
    with writing(services.engine) as connection:
        imports.begin(connection, "cut off", "orders.csv", 0.0)
    monkeypatch.setattr(services.impressions.store, "keep", Mock(side_effect=ValueError("no number")))
    services.impressions._tidied = -math.inf
    services.note()
    problem(client.get(f"/uploads/{upload_id}"), 404)
    with reading(services.engine) as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM datasets WHERE name = 'cut off'").scalar_one()
    assert left == 0
    assert "the removal of old answers is not possible for now" in services.keeper.troubles.sentences()[0]


def test_one_address_leaves_places_to_others(client):
    """Four bodies of one address arrive; a fifth is told to wait, and one of another address is not."""
    places = client.app.state.upload_places
    with contextlib.ExitStack() as stack:
        for _ in range(places.limit_per_address):
            stack.enter_context(places.slot("testclient"))
        assert "of your address" in problem(put(client), 503).detail
        stack.enter_context(places.slot("another"))
    assert put(client).status_code == 201


def test_what_is_wrong_with_a_request_is_said_before_anything_is_read(client):
    upload_id = put(client).json()["upload_id"]
    detail = problem(client.post(f"/uploads/{upload_id}/preview", json={"options": {"user_colum": "x"}}), 422).detail
    assert "options.user_colum: there is no such option" in detail
    detail = problem(client.post(f"/uploads/{upload_id}/preview", json={"items": NOWHERE}), 404).detail
    assert NOWHERE in detail
    problem(client.post(f"/uploads/{upload_id}/import", json={}), 422)
    problem(put(client, filename="a/b"), 422)
    problem(client.get(f"/uploads/{NOWHERE}"), 404)
    assert client.get(f"/uploads/{upload_id}").json()["state"] == "uploaded"


def test_a_deleted_user_is_in_no_upload_and_no_preview(client, world):
    upload_id = put(client).json()["upload_id"]
    client.post(f"/uploads/{upload_id}/preview", json={}).raise_for_status()
    assert ended(client, upload_id)["preview"]["first"][0]["user_id"] == "v0"
    client.delete("/users/v0", params={"dataset": "tiny"}).raise_for_status()
    problem(client.get(f"/uploads/{upload_id}"), 404)
    assert not list((world.data_dir / "uploads").glob("*/"))


def test_a_file_is_bounded_and_leaves_nothing_where_it_is_too_long(settings, world):
    with TestClient(create_app(settings(max_upload_mib=1, max_body_bytes=100))) as client:
        assert put(client).status_code == 201, "longer than other bodies may be"
        parts = (b"x" * 100_000 for _ in range(11))
        assert "1048576 bytes" in problem(client.post("/uploads?filename=a.csv", content=parts), 413).detail
        problem(put(client, b"x" * 1_048_577), 413)
        problem(client.post("/feedback", content=b"x" * 101), 413)
    assert [path.name for path in (world.data_dir / "uploads").glob("*/file/*")] == ["orders.csv"]


@pytest.mark.parametrize("key", [None, "wrong"])
def test_with_a_key_none_but_who_has_it_uploads(settings, key):
    with TestClient(create_app(settings(api_key="right"))) as client:
        headers = {} if key is None else {"X-API-Key": key}
        problem(put(client, **headers), 401)
        upload_id = put(client, **{"X-API-Key": "right"}).json()["upload_id"]
        for method, path in (("GET", ""), ("POST", "/preview"), ("POST", "/import"), ("DELETE", "")):
            problem(client.request(method, f"/uploads/{upload_id}{path}", headers=headers), 401)
