"""What is known stays known: imports beside a backend that serves, edits and deletes in another process."""

import csv
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import httpx
import pytest

import migrations
from fedmem.config_reader import merged
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from tests.cli.conftest import called
from tests.dashboard.sites import backend_on
from tests.end_to_end.products import ROOT, Product
from tests.forks import Forked
from tests.ports import free_port
from tests.tiny import tiny_config, walks
from tests.waiting import PATIENCE, until

TAKEN, DESCRIBED = 20, 26
START = 1_700_000_000
CONFIG: dict[str, Any] = {"federated": {"num_rounds": 2}, "evaluation": {"eval_every": 1}, "features": {"image": "off"}}


@contextmanager
def backend_of(product: Product) -> Iterator[httpx.Client]:
    """A backend as a process, once a model answers."""
    port = free_port()
    settings = {"FEDMEM_PORT": str(port), "FEDMEM_REFRESH_SECONDS": "0.1"}
    process = Forked([sys.executable, "-m", "backend"], cwd=ROOT, env=product.environment | settings)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            until(lambda: process.poll() is not None or _ready(client), "the backend")
            assert process.poll() is None
            yield client
    finally:
        process.terminate()
        process.wait()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def train(product: Product, dataset: str, changes: Mapping[str, Any]) -> None:
    config = tiny_config(**merged(CONFIG, changes))
    job = {"kind": "training", "config": config.model_dump(mode="json"), "num_rounds": config.federated.num_rounds}
    product.jobs.create(dataset=dataset, **job)
    product.train()


def write_csv(path: Path, header: str, rows: list[tuple[object, ...]]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def orders() -> list[tuple[object, ...]]:
    sequences = enumerate(walks(8, TAKEN, shortest=8, longest=12))
    return [
        (f"u{user}", f"i{item}", START + 60 * at + user) for user, walk in sequences for at, item in enumerate(walk)
    ]


def products() -> list[tuple[object, ...]]:
    return [(f"i{number}", f"Product {number}", "Tools|Garden", 1990 + number) for number in range(1, DESCRIBED + 1)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("import") / "shop"
    write_csv(folder / "interactions.csv", "user_id,item_id,timestamp", orders())
    write_csv(folder / "items.csv", "item_id,title,genres,year", products())
    return folder


@pytest.fixture(scope="module")
def product(shop: Path) -> Product:
    """A shop that has been imported, and a model of it."""
    product = Product(f"sqlite:///{shop.parent}/fedmem.db", shop.parent / "data")
    first = imported(product, shop)
    assert (first["new_items"], first["new_interactions"]) == (DESCRIBED, len(orders()))
    train(product, "shop", {})
    return product


@pytest.fixture(scope="module")
def client(product: Product) -> Iterator[httpx.Client]:
    with backend_of(product) as client:
        yield client


def imported(product: Product, path: Path, *options: object) -> dict[str, Any]:
    """What ``fedmem data import`` says, in another process than the backend's."""
    with patch.dict(os.environ, product.environment):
        done = called("data", "import", path, "--name", "shop", "--json", *options)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def recommended(client: httpx.Client, user: str = "unknown") -> dict[str, dict[str, Any]]:
    found = client.get(f"/recommend/{user}", params={"k": 100}).json()["items"]
    return {item["item_id"]: item for item in found}


def test_an_item_that_no_user_has_taken_is_recommended_and_can_be_taken(client):
    taken = {str(item) for _, item, _ in orders()}
    never = {str(row[0]) for row in products()} - taken
    assert never
    found = recommended(client)
    assert {item: found[item]["title"] for item in never} == {item: f"Product {item[1:]}" for item in never}
    one = min(never)
    assert (client.get(f"/items/{one}").json()["recommendable"], client.get(f"/items/{one}").json()["trained"]) == (
        True,
        False,
    )
    assert client.get(f"/items/{one}/similar").json()["items"]
    event = {"user_id": "fresh", "item_id": one, "timestamp": int(time.time())}
    assert client.post("/feedback", json={"events": [event]}).json()["accepted"] == 1
    assert one not in recommended(client, "fresh")


def test_a_days_orders_leave_titles_alone(client, product, shop, tmp_path):
    today = write_csv(tmp_path / "today.csv", "user_id,item_id,timestamp",
                      [("u0", "i6", START + 9000), ("u1", "i7", START + 9001)])  # fmt: skip
    before = client.get("/items/i6").json()
    done = imported(product, today)
    assert (done["new_interactions"], done["new_items"], done["changed_items"], done["kept_items"]) == (2, 0, 0, 2)
    assert client.get("/items/i6").json() == before
    again = imported(product, shop)
    assert (again["new_interactions"], again["changed_items"], again["kept_items"]) == (0, 0, DESCRIBED)
    assert (before["title"], before["genres"], before["year"]) == ("Product 6", ["Tools", "Garden"], 1996)


def test_a_title_that_an_import_changes_is_in_the_answers_of_the_model_in_service(client, product, shop, tmp_path):
    new = write_csv(tmp_path / "items.csv", "item_id,title", [("i3", "Renamed"), ("i26", "Never taken"), ("n", "New")])
    done = imported(product, shop / "interactions.csv", "--items", new)
    assert (done["new_items"], done["changed_items"]) == (1, 2)
    found = until(lambda: _with(client, "n"), "the new item")
    assert [found[item]["title"] for item in ("i3", "i26", "n")] == ["Renamed", "Never taken", "New"]
    assert (found["i3"]["genres"], found["i3"]["year"]) == (["Tools", "Garden"], 1993)
    assert client.get("/items/i3").json()["text"] == "Renamed (1993). Tools, Garden"
    imported(product, shop)
    found = until(lambda: recommended(client)["i3"]["title"] == "Product 3" and recommended(client), "the old title")
    assert found["i26"]["title"] == "Product 26"


def _with(client: httpx.Client, item: str) -> dict[str, dict[str, Any]] | None:
    found = recommended(client)
    return found if item in found else None


def test_an_edit_outlasts_the_file_unless_the_import_is_told_otherwise(client, product, shop):
    edit = {"title": "Edited by hand", "genres": ["Kitchen"], "text": "Sharp."}
    assert client.put("/items/i4", json=edit).status_code == 200
    done = imported(product, shop)
    assert (done["changed_items"], done["edits_kept"], done["kept_items"]) == (0, 1, DESCRIBED)
    assert client.get("/items/i4").json()["text"] == "Edited by hand. Kitchen. Sharp."
    assert recommended(client)["i4"]["title"] == "Edited by hand"
    done = imported(product, shop, "--overwrite-edits")
    assert (done["changed_items"], done["edits_kept"]) == (1, 0)
    until(lambda: recommended(client)["i4"]["title"] == "Product 4", "the file's title")
    assert client.get("/items/i4").json()["text"] == "Product 4 (1994). Tools, Garden. Sharp.", "the file has no texts"


def test_a_deleted_user_stays_deleted_and_may_come_back(client, product, shop):
    of_user = [row for row in orders() if row[0] == "u1"]
    assert client.delete("/users/u1").status_code == 204
    done = imported(product, shop)
    assert (done["new_interactions"], done["deleted_interactions"]) == (0, len(of_user))
    old, later = ({"user_id": "u1", "item_id": "i1", "timestamp": at} for at in (START, time.time() + 100))
    answer = client.post("/feedback", json={"events": [old]}).json()
    assert (answer["accepted"], answer["duplicates"], answer["left_out"]) == (0, 0, 1)
    assert client.get("/users/u1/history").status_code == 404
    assert client.post("/feedback", json={"events": [old, later]}).json()["accepted"] == 1
    imported(product, shop)
    assert [entry["timestamp"] for entry in client.get("/users/u1/history").json()["interactions"]] == [
        later["timestamp"]
    ]
    train(product, "shop", {"features": {"text": "off"}})
    snapshot = product.directory(2).read_snapshot().dataset
    assert len(snapshot.history(snapshot.vocabulary.user_index("u1"))) == 1


LEAVER = "the-one-who-leaves-7f3a"


def holding(folder: Path, text: str) -> list[str]:
    """Files that hold a text; one that is gone by the time it is read holds nothing."""
    found = []
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(str(path.relative_to(folder)))
    return found


def test_of_a_deleted_user_no_file_of_the_installation_holds_anything(client, product):
    """The database and its log, snapshots, checkpoints, logs of jobs; a second job continues the first one's data."""
    folder = product.data_dir.parent
    events = [{"user_id": LEAVER, "item_id": f"i{at}", "timestamp": START + at} for at in range(1, 13)]
    assert client.post("/feedback", json={"events": events}).json()["accepted"] == len(events)
    train(product, "shop", {})
    first = product.jobs.page(limit=1)[0]
    config = merged(first.config, {"federated": {"num_rounds": 3}})
    product.jobs.create(kind="experiment", dataset="shop", config=config, num_rounds=3, start_from=first.id)
    product.train()
    assert client.get(f"/recommend/{LEAVER}?explain=true").is_success
    assert {name.partition("/")[0].removesuffix("-wal") for name in holding(folder, LEAVER)} >= {"data", "fedmem.db"}
    assert client.delete(f"/users/{LEAVER}").status_code == 204
    until(lambda: not holding(folder, LEAVER), "the end of what the files hold")
    for job in product.jobs.page(dataset="shop"):
        assert product.directory(job.id).read_snapshot().dataset.vocabulary.find_user(LEAVER) is None


def test_times_of_feedback_are_read_as_those_of_files(client):
    milliseconds, iso = 1_764_000_000_000, "2025-11-24T16:00:00Z"
    events = [{"user_id": "timely", "item_id": "i1", "timestamp": at} for at in (milliseconds, iso, 1_764_000_000)]
    answer = client.post("/feedback", json={"events": events}).json()
    assert (answer["accepted"], answer["duplicates"], answer["left_out"]) == (1, 2, 0)
    later = {"user_id": "timely", "item_id": "i2", "timestamp": 1_764_086_400}
    client.post("/feedback", json={"events": [later]})
    history = client.get("/users/timely/history").json()["interactions"]
    assert [(entry["item_id"], entry["timestamp"]) for entry in history] == [
        ("i1", 1_764_000_000),
        ("i2", 1_764_086_400),
    ]


# --- ids that a database holds from before there was a rule

ITEMS = {1: "x" * 3000, 2: "with a\ttab", 3: "two\nlines", 4: "ends\n", 5: "NULL", 6: " blank"}
USERS = {0: "u" * 3000, 1: "user\twith a tab", 2: "user\nof two lines\n", 3: "a/history"}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, httpx.Client]]:
    folder = tmp_path_factory.mktemp("old")
    product = Product(f"sqlite:///{folder}/fedmem.db", folder / "data")
    migrations.upgrade(product.url)
    rows = [
        (USERS.get(user, f"u{user}"), ITEMS.get(item, f"i{item}"), float(START + 60 * at + user))
        for user, walk in enumerate(walks(8, TAKEN, shortest=8, longest=12))
        for at, item in enumerate(walk)
    ]
    catalogue = [ItemRow(ITEMS.get(item, f"i{item}")) for item in range(1, TAKEN + 1)]
    users, items, times = zip(*rows, strict=True)
    CatalogueStore(product.engine).write("old", "a file", InteractionColumns(users, items, times), catalogue)
    train(product, "old", {"features": {"text": "off"}})
    with backend_on(product.url, product.data_dir) as api, httpx.Client(base_url=api, timeout=PATIENCE) as client:
        until(lambda: _ready(client), "the model")
        yield product, client


@pytest.mark.parametrize("item", ITEMS.values(), ids=lambda item: repr(item)[:12])
def test_whatever_is_in_the_database_is_served(old, item):
    _, client = old
    escaped = quote(item, safe="")
    assert client.get(f"/items/{escaped}").json()["item_id"] == item
    assert client.get(f"/items/{escaped}/similar").json()["item_id"] == item
    assert item in {found["item_id"] for found in client.get("/items?limit=50").json()["items"]}
    answer = client.post("/recommend", json={"history": [item], "exclude": ["i9"], "k": 50}).json()
    assert (answer["unknown_items"], len(answer["items"])) == ([], TAKEN - 2)
    assert item in recommended(client)
    assert item not in {found["item_id"] for found in _excluding(client, item)}


def _excluding(client: httpx.Client, item: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/recommend/unknown", params={"k": 50, "exclude": item}).json()["items"]
    return found


def test_every_page_of_users_and_items_is_served(old):
    _, client = old
    users, path = [], "/users?limit=1"
    while path:
        page = client.get(path).json()
        users += [user["user_id"] for user in page["users"]]
        path = page["next"]
    assert set(users) == {*USERS.values(), "u4", "u5", "u6", "u7"}
    assert client.get("/memory/map").status_code == 200
    assert client.get("/memory/prototypes").status_code == 200


@pytest.mark.parametrize("user", USERS.values(), ids=lambda user: repr(user)[:12])
def test_whoever_is_in_the_database_is_answered_exported_and_deleted(old, user):
    _, client = old
    escaped = quote(user, safe="")
    assert client.get(f"/recommend/{escaped}?strict=true&k=50").json()["user_id"] == user
    assert client.get(f"/users/{escaped}/history").json()["user_id"] == user
    answers = client.post("/recommend/batch", json={"requests": [{"user_id": user}]}).json()["answers"]
    assert answers[0]["user_id"] == user
    assert client.delete(f"/users/{escaped}").status_code == 204
    assert client.get(f"/users/{escaped}/history").status_code == 404
    assert client.get(f"/recommend/{escaped}?strict=true").status_code == 404


@pytest.mark.parametrize("name", ["x" * 513, "with a\ttab", "two\nlines", "NULL", "", " "])
def test_what_enters_is_held_to_the_rule(old, name):
    _, client = old
    for event in ({"user_id": name, "item_id": "i9"}, {"user_id": "u", "item_id": name}):
        response = client.post("/feedback", json={"events": [event | {"timestamp": START}]})
        assert response.status_code == 422, response.text
        assert "events.0." in response.json()["detail"]
    if name.strip():
        response = client.put(f"/items/{quote(name, safe='')}", json={"title": "Title"})
        assert (response.status_code, "item_id" in response.json()["detail"]) == (422, True)


def test_ids_are_read_as_those_of_files(old):
    _, client = old
    assert client.put("/items/%20%20trimmed%20", json={"title": "Title"}).json()["item_id"] == "trimmed"
    event = {"user_id": 12, "item_id": " trimmed ", "timestamp": START}
    assert client.post("/feedback", json={"events": [event]}).json()["accepted"] == 1
    assert client.get("/users/12/history").json()["interactions"][0]["item_id"] == "trimmed"
