"""The catalogue over HTTP: search, pages, pictures, and items that the model has not seen."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.contracts import ItemPage, ItemResponse
from fedmem.serving import new_items
from tests.backend.conftest import ITEMS, problem, running, settings_of, wait_for_model
from tests.waiting import PATIENCE


class Encoder:
    """Texts as vectors of the tiny features' size, drawn from their length."""

    is_loaded = True

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        return [np.random.default_rng(len(text)).standard_normal(7).astype(np.float32) for text in texts]


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(new_items, "encoder_of", lambda name: Encoder())


def test_pages_of_a_search_are_disjoint_and_whole(served):
    found, path = [], "/items?q=film&limit=7"
    while path:
        page = ItemPage.model_validate(served.get(path).json())
        found += [item.item_id for item in page.items]
        assert page.total == ITEMS
        path = page.next
    assert sorted(found, key=int) == [str(number) for number in range(1, ITEMS + 1)]


def test_a_search_with_a_category(served):
    page = ItemPage.model_validate(served.get("/items", params={"q": "FILM 1", "category": "Comedy"}).json())
    assert {item.item_id for item in page.items} == {"10", "12", "14", "16", "18"}
    assert all(item.recommendable and item.trained for item in page.items)
    assert served.get("/items?q=nothing").json() == {"items": [], "total": 0, "next": None}


def test_free_tags_are_described_shown_and_filtered_by(served, served_world):
    for item_id, tags in {"3": ["gift", "new"], "4": ["gift"]}.items():
        put = served.put(f"/items/{item_id}", json={"title": f"Film {item_id}", "tags": tags})
        assert put.json()["tags"] == served.get(f"/items/{item_id}").json()["tags"] == tags
    found = served.get("/items?tag=gift&tag=new").json()
    assert [item["item_id"] for item in found["items"]] == ["3"]
    page = served.get("/items?tag=gift&limit=1").json()
    assert [item["item_id"] for item in served.get(page["next"]).json()["items"]] == ["4"]

    def recommended(client, tags):
        """By each route that takes a selection."""
        body = {"k": 5, "tag": tags}
        sent = client.post("/recommend", json={"history": ["9"], **body}).json()
        batch = client.post("/recommend/batch", json={"requests": [{"user_id": "new", **body}]}).json()["answers"][0]
        known = client.get("/recommend/new", params=body).json()
        return [sorted(item["item_id"] for item in answer["items"]) for answer in (sent, batch, known)]

    assert recommended(served, ["gift"]) == 3 * [["3", "4"]]
    assert recommended(served, ["gift", "new"]) == 3 * [["3"]]
    first = served.get("/recommend/new?k=1&tag=gift").json()
    second = served.get(first["next"]).json()
    assert {item["item_id"] for page in (first, second) for item in page["items"]} == {"3", "4"}
    assert "did you mean 'gift'?" in problem(served.get("/recommend/new?tag=gifts"), 422).detail
    assert served.put("/items/4", json={"title": "Film 4"}).json()["tags"] == ["gift"], "left out, they stay"
    assert served.put("/items/4", json={"title": "Film 4", "tags": []}).json()["tags"] == []
    assert recommended(served, ["gift"]) == 3 * [["3"]]
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        assert recommended(client, ["gift"]) == 3 * [["3"]]


def test_another_data_set_is_named(served):
    items = served.get("/items?dataset=other").json()["items"]
    assert [(item["item_id"], item["recommendable"]) for item in items] == [("a", False)]
    assert "tiny" in problem(served.get("/items?dataset=nowhere"), 404).detail


def test_without_a_model_the_data_set_must_be_named(client):
    assert "other, tiny" in problem(client.get("/items"), 409).detail
    assert client.get("/items?dataset=tiny").json()["total"] == ITEMS
    url = client.get("/items/1?dataset=tiny").json()["image_url"]
    assert client.get(url).headers["content-type"] == "image/png"


def test_one_item(served):
    item = ItemResponse.model_validate(served.get("/items/1").json())
    assert (item.title, item.genres, item.year, item.image_url) == ("Film 1", ("Drama",), 1991, "/items/1/image")
    assert served.get("/items/2").json()["image_url"] is None
    problem(served.get("/items/nothing"), 404)


def test_its_picture(served, empty_world):
    response = served.get("/items/1/image")
    assert response.content == (empty_world.file.parent / "cover.png").read_bytes()
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"
    problem(served.get("/items/2/image"), 404)
    problem(served.get("/items/nothing/image"), 404)
    answered = {item["item_id"]: item["image_url"] for item in served.get("/recommend/stranger?k=30").json()["items"]}
    assert {url for item, url in answered.items() if item != "1"} == {None}


@pytest.mark.parametrize("path", ["/etc/passwd", "/nowhere/cover.png"])
def test_a_file_that_is_no_picture_is_not_sent(served_world, path):
    with sqlite3.connect(served_world.database) as connection:
        connection.execute("UPDATE items SET image_path = ? WHERE item_id = '2'", [path])
    connection.close()
    with TestClient(create_app(settings_of(served_world))) as client:
        response = client.get("/items/2/image?dataset=tiny")
        problem(response, 404)
        assert "/nowhere" not in response.text
        assert "passwd" not in response.text


def test_a_link_that_has_taken_a_pictures_place_is_not_followed(served, empty_world, tmp_path):
    secret, picture = tmp_path / "secret.png", empty_world.file.parent / "cover.png"
    secret.write_bytes(b"not for all")
    content = picture.read_bytes()
    picture.unlink()
    picture.symlink_to(secret)
    try:
        found = problem(served.get("/items/1/image"), 404)
        assert "import it again" in found.detail
    finally:
        picture.unlink()
        picture.write_bytes(content)


def test_a_new_item_is_in_the_next_answer(served):
    new = {"title": "Film 31", "genres": ["Western"], "year": 2001, "text": "A duel at noon."}
    response = served.put("/items/new one", json=new)
    assert response.status_code == 200, response.text
    item = ItemResponse.model_validate(response.json())
    assert (item.item_id, item.recommendable, item.trained) == ("new one", True, False)
    assert item.text == "Film 31 (2001). Western. A duel at noon."
    found = served.get("/recommend/u03", params={"category": "Western"}).json()["items"]
    assert [item["item_id"] for item in found] == ["new one"]
    assert served.get("/items/new one").json()["text"] == item.text
    assert served.get("/items/new one/similar").status_code == 200
    assert len(served.get("/recommend/stranger?k=40").json()["items"]) == ITEMS + 1


def test_an_item_is_described_anew_and_keeps_its_picture(served):
    served.put("/items/1", json={"title": "Another title", "genres": ["Western"]})
    item = served.get("/items/1").json()
    assert (item["title"], item["image_url"], item["trained"]) == ("Another title", "/items/1/image", True)
    (found,) = served.get("/recommend/stranger", params={"category": "Western"}).json()["items"]
    assert (found["item_id"], found["title"]) == ("1", "Another title")


def test_a_new_item_is_still_there_after_a_start(served, served_world):
    served.put("/items/x", json={"title": "Film X", "genres": ["Western"]})
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        found = client.get("/recommend/u03", params={"category": "Western"}).json()["items"]
        assert [item["item_id"] for item in found] == ["x"]


def test_one_broken_row_is_one_item_that_is_shown_with_what_it_has(served_world):
    connection = sqlite3.connect(served_world.database)
    for number, damage in enumerate(
        ("genres = '[', text = x'00'", "genres = '[\"\\ud800\"]', year = 'x'", "genres = 'null'")
    ):
        connection.execute(f"UPDATE items SET {damage} WHERE item_id = '{number + 1}'")
    connection.commit()
    connection.close()
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        page = ItemPage.model_validate(client.get("/items?limit=500").raise_for_status().json())
        assert len(page.items) == ITEMS
        assert {item.item_id: item.genres for item in page.items if item.item_id in ("1", "2", "3")} == {
            "1": (), "2": ("?",), "3": ()
        }  # fmt: skip
        for path in ("/items?category=Drama", "/items?q=film", "/items/1", "/items/2/similar", "/recommend/u03"):
            client.get(path).raise_for_status()


@pytest.mark.parametrize(
    "body", [{}, {"title": ""}, {"title": "a\x00"}, {"title": "t", "text": "\x00"}, {"title": "t", "other": 1}]
)
def test_a_description_that_is_none(served, body):
    problem(served.put("/items/x", json=body), 422)
    problem(served.get("/items/x"), 404)


def test_while_a_text_is_encoded_others_store_and_are_answered(served, monkeypatch):
    begun, let = threading.Event(), threading.Event()

    class Slow(Encoder):
        def encode(self, texts):
            if not let.is_set():
                begun.set()
                assert let.wait(PATIENCE)
            return super().encode(texts)

    monkeypatch.setattr(new_items, "encoder_of", lambda name: Slow())
    with ThreadPoolExecutor() as threads:
        later = threads.submit(served.put, "/items/x", json={"title": "Film X", "genres": ["Western"]})
        assert begun.wait(PATIENCE)
        event = {"user_id": "u03", "item_id": "7", "timestamp": 1_700_000_000}
        assert served.post("/feedback", json={"events": [event]}).json()["accepted"] == 1
        assert served.delete("/users/u04").status_code == 204
        assert not later.done()
        let.set()
        assert later.result().json()["recommendable"]


def test_an_item_put_while_the_models_are_looked_through_stays_known(served, monkeypatch):
    changes, put = served.app.state.services.keeper.changes, []
    listed = changes.served.all

    def put_after(dataset=None):
        models = listed(dataset)
        if not put:
            put.append("x")
            served.put("/items/x", json={"title": "Film X", "genres": ["Western"]}).raise_for_status()
        return models

    monkeypatch.setattr(changes.served, "all", put_after)
    changes.catalogue.change_hidden("tiny", hide=["3"], show=[])  # as another backend does
    changes.hide_all()
    assert served.get("/items/x").json()["recommendable"]


def test_an_id_may_hold_what_a_path_does(served_world):
    """By a real server, because the test client takes paths apart in its own way."""
    app = create_app(settings_of(served_world))
    with running(app) as (_, address), httpx.Client(base_url=address, timeout=PATIENCE) as client:
        app.state.services.keeper.look()
        for item_id in ("a/b", "a/similar", "a/image", "similar", "/", "a/b/similar", "a%2Fsimilar", "ü?#"):
            path = f"/items/{quote(item_id, safe='')}"
            new = {"title": f"Film {item_id}", "genres": ["Western"]}
            assert client.put(path, json=new).json()["item_id"] == item_id
            assert client.get(path).json()["title"] == f"Film {item_id}"
            assert client.get(f"{path}/similar").json()["item_id"] == item_id
            assert repr(item_id) in problem(client.get(f"{path}/image"), 404).detail


def test_what_is_wrong_with_a_body_comes_first(client):
    assert "title" in problem(client.put("/items/x", json={}), 422).detail
    assert "?dataset=" in problem(client.put("/items/x", json={"title": "Film X"}), 409).detail
    assert "events" in problem(client.post("/feedback", json={}), 422).detail
    event = {"user_id": "u", "item_id": "1", "timestamp": 1}
    assert "?dataset=" in problem(client.post("/feedback", json={"events": [event]}), 409).detail


def test_an_item_says_its_description_apart_so_that_it_can_be_edited(served):
    told = {"title": "Film 1", "genres": ["Drama"], "year": 1999, "text": "Two friends. A train."}
    answer = served.put("/items/1", json=told).json()
    assert answer["text"] == "Film 1 (1999). Drama. Two friends. A train."
    assert answer["description"] == served.get("/items/1").json()["description"] == told["text"]
