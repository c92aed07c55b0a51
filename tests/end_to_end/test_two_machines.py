"""Two backends and two trainers on one PostgreSQL database: what one changes the other follows, and a job runs once."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.settings import Settings
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns
from tests.end_to_end.products import Product
from tests.waiting import until


@pytest.fixture
def product(postgresql_url, tmp_path) -> Iterator[Product]:
    product = Product.made(tmp_path, postgresql_url)
    yield product
    product.engine.dispose()


@pytest.fixture
def backends(product) -> Iterator[list[TestClient]]:
    """Two, each with a model of its own in memory; how often they look for news is a setting, a second by default."""
    come_back(product, "u05")
    product.queue()
    product.queue({"seed": 7}, promotion="manual")
    product.train()
    own = {"database_url": product.url, "data_dir": product.data_dir, "allowed_hosts": "testserver"}
    settings = Settings(_env_file=None, refresh_seconds=0.05, **own)
    with ExitStack() as stack:
        both = [stack.enter_context(TestClient(create_app(settings))) for _ in range(2)]
        until(lambda: all(one.get("/health/ready").status_code == 200 for one in both), "two models")
        yield both


def come_back(product: Product, user: str) -> None:
    """Delete a user, whose later interactions are those of one who has come back."""
    store = CatalogueStore(product.engine)
    store.delete_user("tiny", user)
    store.write(
        "tiny",
        "test",
        InteractionColumns([user] * 8, [f"m{n:02d}" for n in range(1, 9)], [1e3 + n for n in range(8)]),
        [],
    )


def answer(backend: TestClient, user: str = "u01") -> dict:
    return backend.get(f"/recommend/{user}").raise_for_status().json()


def items(backend: TestClient) -> list[str]:
    return [item["item_id"] for item in answer(backend)["items"]]


def test_what_one_backend_changes_reaches_the_other(backends):
    one, other = backends
    waiting = next(model["version"] for model in one.get("/models").json()["models"] if not model["active"])
    assert answer(other)["model_version"] != waiting
    one.post(f"/models/{waiting}/activate").raise_for_status()
    until(lambda: answer(other)["model_version"] == waiting, "the other model")

    hidden, taken = items(other)[:2]
    one.post("/items/availability", json={"hide": [hidden]}).raise_for_status()
    until(lambda: hidden not in items(other), "an item to be hidden")
    one.post("/items/availability", json={"show": [hidden]}).raise_for_status()
    until(lambda: hidden in items(other), "an item to be shown")

    event = {"user_id": "u01", "item_id": taken, "timestamp": 1e9}
    one.post("/feedback", json={"events": [event]}).raise_for_status()
    until(lambda: taken not in items(other), "feedback")

    one.put("/items/new", json={"title": "A new film"}).raise_for_status()
    assert other.get("/items/new").json()["title"] == "A new film"

    assert answer(other, "u02")["strategy"] == "model"
    assert answer(other, "u05")["strategy"] == "model", "the snapshot is newer than that deletion"
    one.delete("/users/u02").raise_for_status()
    assert other.get("/users/u02/history").status_code == 404
    until(lambda: answer(other, "u02")["strategy"] == "popularity", "a user to be forgotten")
    one.post("/feedback", json={"events": [{**event, "user_id": "u02"}]}).raise_for_status()
    until(lambda: taken not in [item["item_id"] for item in answer(other, "u02")["items"]], "one who came back")


def test_both_keep_one_rate_limit(product):
    """What is let through in time is let through by one backend, too."""
    own = {"database_url": product.url, "data_dir": product.data_dir, "allowed_hosts": "testserver"}
    settings = Settings(_env_file=None, refresh_seconds=0.05, rate_limit=60, **own)
    with ExitStack() as stack:
        apps = [create_app(settings) for _ in range(2)]
        both = [stack.enter_context(TestClient(app)) for app in apps]
        until(lambda: all(app.state.rate.backends == 2 for app in apps), "each to hear of the other")
        started = time.monotonic()
        answers = [one.get("/jobs").status_code for _ in range(80) for one in both]
        seconds = time.monotonic() - started
        assert set(answers) == {200, 429}
        assert answers.count(200) <= 60 + seconds + 2
    with TestClient(create_app(settings)) as one:
        until(lambda: one.get("/health/ready") and one.app.state.rate.backends == 1, "the others to be gone")


def test_two_trainers_share_jobs_and_train_each_once(product):
    ids = [product.queue({"seed": seed}).id for seed in range(4)]
    trainers = [product.start("-m", "trainer", "--until-idle") for _ in range(2)]
    printed = [trainer.communicate()[0] for trainer in trainers]
    assert [trainer.returncode for trainer in trainers] == [0, 0], printed
    jobs = [product.jobs.get(number) for number in ids]
    assert [(job.state, job.attempts) for job in jobs] == [("succeeded", 1)] * 4
