"""What people do after a model was trained changes, by what follows what, what others get, and leaves with them."""

import threading
import time

from starlette.testclient import TestClient

from backend.app import create_app
from fedmem.contracts import TransitionRows
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from tests.backend.conftest import ITEMS, settings_of, wait_for_model
from tests.backend.test_models import another_model
from tests.backend.test_users import NOW, events
from tests.waiting import until

FIRST, THEN = "3", "17"  # nothing in the data leads from one to the other


def scores(client: TestClient, *history: str) -> dict[str, float]:
    """All scores of an answer to a history that belongs to no user."""
    body = {"history": history or [FIRST], "k": ITEMS, "include_seen": True}
    return {item["item_id"]: item["score"] for item in client.post("/recommend", json=body).json()["items"]}


def follow(client: TestClient, *users: str, start: float = NOW) -> None:
    """Let these users take both, the one after the other."""
    for user in users:
        assert client.post("/feedback", json=events(user, FIRST, THEN, start=start)).json()["accepted"] == 2


def interactions(client: TestClient) -> int:
    return TransitionRows.model_validate(client.get("/memory/transitions").json()).interactions


def until_counted(client: TestClient, number: int) -> None:
    until(lambda: interactions(client) == number, f"{number} interactions are counted")


def test_others_get_what_followed_and_both_backends_say_the_same(served, served_world):
    before, counted = scores(served), interactions(served)
    assert served.get("/memory/transitions", params={"item_id": FIRST, "followers": 50}).json()["rows"]
    with TestClient(create_app(settings_of(served_world))) as other:
        wait_for_model(other)
        assert scores(other) == before
        follow(served, "new1", "new2", "u03")
        for client in (served, other):
            until_counted(client, counted + 6)
        after = scores(served)
        assert after == scores(other)
    with TestClient(create_app(settings_of(served_world))) as later:
        wait_for_model(later)
        assert interactions(later) == counted + 6
        assert scores(later) == after
    assert after[THEN] > before[THEN]
    body = {"history": [FIRST], "k": ITEMS, "explain": True}
    (found,) = [item for item in served.post("/recommend", json=body).json()["items"] if item["item_id"] == THEN]
    assert [part["item_id"] for part in found["explanation"]["remembered"]] == [FIRST]
    followers = served.get("/memory/transitions", params={"item_id": FIRST, "followers": 50}).json()["rows"][0]
    assert THEN in [item["item_id"] for item in followers["followers"]]


def test_who_is_deleted_leaves_the_answers_to_others_as_if_never_there(served):
    counted, history = interactions(served), len(served.get("/users/u05/history").json()["interactions"])
    follow(served, "new1")
    until_counted(served, counted + 2)
    before = scores(served)
    follow(served, "new2", "u05")
    until_counted(served, counted + 6)
    assert scores(served) != before
    served.delete("/users/u05")
    assert interactions(served) == counted + 4 - history, "at once"
    served.delete("/users/new1")
    follow(served, "new1", start=time.time())  # who comes back counts again
    until_counted(served, counted + 4 - history)
    served.delete("/users/new2")
    assert interactions(served) == counted + 2 - history


def test_who_is_deleted_leaves_everything_as_it_was(served):
    before, counted = scores(served), interactions(served)
    follow(served, "new1", "new2")
    until_counted(served, counted + 4)
    assert scores(served) != before
    served.delete("/users/new1")
    follow(served, "new3")
    served.delete("/users/new2")
    served.delete("/users/new3")  # counted or not
    assert (scores(served), interactions(served)) == (before, counted)


def test_what_is_left_out_of_feedback_is_not_counted(served):
    follow(served, "new1")
    served.delete("/users/new1")
    before, counted = scores(served), interactions(served)
    again = events("new1", FIRST, THEN, start=NOW - 10**9)
    found = served.post("/feedback", json=again).json()
    assert (found["accepted"], found["duplicates"], found["left_out"]) == (0, 0, 2)
    served.app.state.services.keeper.look()
    assert (scores(served), interactions(served)) == (before, counted)


def test_who_is_deleted_while_rows_are_made_is_not_in_them(served, monkeypatch):
    """The rows hold the user when the deletion comes: they are not put into service, and others are."""
    keeper, counted = served.app.state.services.keeper, interactions(served)
    made, go_on = threading.Event(), threading.Event()
    table_of = keeper.loader.table_of

    def slowly(model):
        table = table_of(model)
        made.set()
        assert go_on.wait(60)
        return table

    monkeypatch.setattr(keeper.loader, "table_of", slowly)
    follow(served, "new1", "new2")
    assert made.wait(60)
    served.delete("/users/new1")
    go_on.set()
    until_counted(served, counted + 2)
    assert served.app.state.served.loaded("tiny").recommender.scorer.transitions.taken.sum() == counted + 2


def test_a_version_that_is_loaded_later_has_counted_it_too(served, served_world):
    counted = interactions(served)
    follow(served, "new1")
    left = another_model(served_world, activate=False)
    assert served.post(f"/models/{left}/activate").status_code == 200
    assert interactions(served) == counted + 2
    follow(served, "new2")
    until_counted(served, counted + 4)


def test_what_waits_for_the_bucket_keeps_hidden_items_waiting_no_longer(served, served_world, monkeypatch):
    changes, hangs, goes_on = served.app.state.services.keeper.changes, threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        goes_on.wait()

    monkeypatch.setattr(changes.followed, "look", hang)
    try:
        until(hangs.is_set, "a bucket that hangs")
        engine = connect(served_world.url)
        CatalogueStore(engine).change_hidden("tiny", ["3"], [])  # by another process
        engine.dispose()
        until(lambda: "3" not in scores(served, "1"), "the hidden item is offered no more")
        assert not goes_on.is_set()
    finally:
        goes_on.set()
