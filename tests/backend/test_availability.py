"""Items are hidden, shown and deleted: what the next answer holds, whoever did it."""

import pytest

from fedmem.serving import new_items
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from tests.backend.conftest import problem
from tests.backend.test_items import Encoder
from tests.tiny import ITEMS

ALL = {str(number) for number in range(1, ITEMS + 1)}


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(new_items, "encoder_of", lambda name: Encoder())


def offered(client, **query) -> set[str]:
    found = client.get("/recommend/stranger", params={"k": 50, **query})
    assert found.status_code == 200, found.text
    return {item["item_id"] for item in found.json()["items"]}


def test_what_is_hidden_is_in_no_answer_from_the_next_one_on(served):
    assert offered(served) == ALL
    assert served.post("/items/availability", json={"hide": ["1", "2", "1"]}).json() == {"hidden": 2, "shown": 0}
    assert offered(served) == ALL - {"1", "2"}
    drama = {item_id for item_id in ALL if int(item_id) % 4 in (1, 2)}
    assert offered(served, category="Drama") == drama - {"1", "2"}
    assert "1" not in {one["item_id"] for one in served.get("/items/5/similar?k=50").json()["items"]}
    history = served.post("/recommend", json={"history": ["3"], "k": 50}).json()["items"]
    assert {item["item_id"] for item in history} == ALL - {"1", "2", "3"}
    item = served.get("/items/1").json()
    assert (item["available"], item["recommendable"], item["trained"]) == (False, False, True)
    assert [item["item_id"] for item in served.get("/items?available=false").json()["items"]] == ["1", "2"]
    assert served.get("/items?available=true").json()["total"] == ITEMS - 2
    assert served.post("/items/availability", json={"show": ["1"]}).json() == {"hidden": 0, "shown": 1}
    assert offered(served) == ALL - {"2"}


def test_what_another_process_hides_follows_with_the_next_look(served, served_world):
    engine = connect(served_world.url)
    CatalogueStore(engine).change_hidden("tiny", hide=["7"])
    engine.dispose()
    served.app.state.services.keeper.look()
    assert offered(served) == ALL - {"7"}
    served.put("/items/new", json={"title": "Film 31", "text": "A duel at noon."})
    assert offered(served) == ALL - {"7"} | {"new"}, "a new item changes nothing of that"


def test_an_unknown_item_is_named_and_nothing_is_hidden(served):
    assert "'nowhere'" in problem(served.post("/items/availability", json={"hide": ["1", "nowhere"]}), 404).detail
    assert offered(served) == ALL


def test_a_deleted_item_is_gone_and_may_come_back(served):
    assert "hide it instead" in problem(served.delete("/items/3"), 409).detail
    served.put("/items/new", json={"title": "Film 31", "text": "A duel at noon."})
    assert served.delete("/items/new").status_code == 204
    assert offered(served) == ALL
    problem(served.get("/items/new"), 404)
    problem(served.delete("/items/new"), 404)
    served.put("/items/new", json={"title": "Film 31", "text": "A duel at noon."})
    assert offered(served) == ALL | {"new"}


def test_years_are_filters(served):
    years = {item_id: 1990 + int(item_id) % 3 for item_id in ALL}
    assert offered(served, year_from=1992) == {item_id for item_id, year in years.items() if year == 1992}
    assert offered(served, year_to=1990) == {item_id for item_id, year in years.items() if year == 1990}
    assert offered(served, year_from=1991, year_to=1991) == {item_id for item_id, year in years.items() if year == 1991}
    found = problem(served.get("/recommend/stranger?year_from=2020"), 422).detail
    assert found == "year_from = 2020: no item is of 2020 or later; they are of 1990 to 1992"


def test_a_known_user_may_exclude_more_than_an_address_holds(served):
    others = [f"unknown-{number}" for number in range(2000)]
    asked = {"user_id": "u03", "k": 3, "exclude": others}
    known = served.post("/recommend", json=asked).json()
    direct = served.get("/recommend/u03?k=3").json()
    assert [item["item_id"] for item in known["items"]] == [item["item_id"] for item in direct["items"]]
    assert (known["user_id"], known["strategy"], known["next"]) == ("u03", "model", None)
    first, second = (item["item_id"] for item in direct["items"][:2])
    others[0] = first
    assert served.post("/recommend", json={**asked, "exclude": others}).json()["items"][0]["item_id"] == second
    assert served.post("/recommend", json={"user_id": "u03", "k": 3}).json()["next"].startswith("/recommend/u03?")
