"""A model for each data set: which one answers, what is in memory, and that none answers for another."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from backend import model_loader
from backend.app import create_app
from backend.model_lookup import ModelLookup
from backend.served_models import KEPT, ServedModels
from backend.services import Services
from fedmem.checkpoint import RunDirectory
from fedmem.contracts import ModelPage, Ready
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Interactions, Item
from fedmem.errors import StorageError
from fedmem.interruption import heed
from fedmem.serving import new_items
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore, RoundResult
from tests.backend.conftest import World, copy_of, problem, settings_of, wait_for_model
from tests.backend.test_models import another_model, spoil
from tests.tiny import tiny_snapshot, trained, walks
from tests.waiting import PATIENCE, until

FILMS = {str(number) for number in range(1, 31)}
BOOKS = {f"b{number}" for number in range(1, 31)}


def rows() -> tuple[list[str], list[str], list[float]]:
    """What users of both data sets, and one of this alone, have read."""
    users, items, times = [], [], []
    for number, walk in enumerate(walks(12, 30, seed=5)):
        for place, item in enumerate(walk):
            users.append(f"u{number:02d}" if number < 11 else "reader")
            items.append(f"b{item}")
            times.append(float(100 * number + place))
    return users, items, times


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the second data set."""
    users, items, times = (np.array(column, kind) for column, kind in zip(rows(), (object, object, float), strict=True))
    catalogue = [Item(item, f"Book {item}", text=f"Book {item}") for item in sorted(BOOKS)]
    data = FederatedDataset.from_interactions(Interactions(users, items, times), catalogue, name="books")
    return trained(tmp_path_factory.mktemp("books") / "run", tiny_snapshot(dataset=data)).directory.path


@pytest.fixture(scope="module")
def both(full_world: World, books: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world of job 1, and job 2 whose model is in service on ``books``."""
    world = copy_of(full_world, tmp_path_factory.mktemp("both"))
    books.rename(world.data_dir / "jobs" / "2")
    directory = RunDirectory(world.data_dir / "jobs" / "2")
    best, config = directory.read_record().best, directory.read_config().model_dump(mode="json")
    engine = connect(world.url)
    described = [ItemRow(item, f"Book {item}", text=f"Book {item}", image_path="cover.png") for item in sorted(BOOKS)]
    CatalogueStore(engine).write("books", "test", InteractionColumns(*rows()), described)
    jobs, last_id = JobStore(engine), CatalogueStore(engine).snapshot("books").last_id
    jobs.create(kind="training", dataset="books", config=config, num_rounds=best)
    _, lease = jobs.claim("trainer", 600, 3)
    digest = directory.read_snapshot().dataset.digest
    jobs.begin(lease, snapshot_digest=digest, last_interaction_id=last_id)
    for number in range(1, best + 1):
        jobs.commit_round(lease, RoundResult(number, number == best, f"{number:06d}", {}, None))
    jobs.finish(lease, "succeeded", model_round=best, activate=True)
    engine.dispose()
    return world


@pytest.fixture
def world(both: World, tmp_path: Path) -> World:
    return copy_of(both, tmp_path)


@pytest.fixture(scope="module")
def two(both: World) -> Iterator[TestClient]:
    """The application with both models; for tests that change nothing."""
    with TestClient(create_app(settings_of(both))) as client:
        wait_for_model(client)
        yield client


def items_of(response) -> set[str]:
    return {item["item_id"] for item in response.raise_for_status().json()["items"]}


HISTORY = {"history": ["3", "5"]}
EVENT = {"events": [{"user_id": "u01", "item_id": "7", "timestamp": 1}]}
ASKS = [
    ("GET", "/recommend/u01", None),
    ("POST", "/recommend", HISTORY),
    ("POST", "/recommend/batch", {"requests": [HISTORY]}),
    ("GET", "/items", None),
    ("GET", "/items/7", None),
    ("GET", "/items/7/similar", None),
    ("GET", "/items/1/image", None),
    ("PUT", "/items/7", {"title": "Seven"}),
    ("POST", "/feedback", EVENT),
    ("GET", "/users", None),
    ("GET", "/users/u01/history", None),
    ("DELETE", "/users/u01", None),
    ("POST", "/users/u01/readmit", None),
    ("GET", "/memory/prototypes", None),
    ("GET", "/memory/prototypes/0/recommendations", None),
    ("GET", "/memory/transitions", None),
    ("GET", "/memory/transitions/growth?item_id=7", None),
    ("GET", "/memory/shares", None),
    ("GET", "/memory/map", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ASKS, ids=[f"{method} {path}" for method, path, _ in ASKS])
def test_where_several_could_be_meant_none_answers_and_the_error_lists_them(two, method, path, body):
    detail = problem(two.request(method, path, json=body), 409).detail
    assert detail == (
        "several data sets have a model in service (books, tiny): name one with ?dataset=, or set FEDMEM_DATASET to "
        "the one that is meant where none is named"
    )


def test_each_data_set_answers_for_its_own_users_with_its_own_items(two):
    for dataset, items, job in (("tiny", FILMS, 1), ("books", BOOKS, 2)):
        query = {"dataset": dataset, "k": 50, "include_seen": True}
        found = two.get("/recommend/u01", params=query)
        assert items_of(found) == items
        assert (found.json()["dataset"], found.json()["strategy"]) == (dataset, "model")
        assert found.json()["model_version"].startswith(f"job-{job}-")
        assert two.get("/memory/prototypes", params={"dataset": "tiny"}).json()["job_id"] == 1
        assert two.get("/items", params={"dataset": dataset}).json()["items"][0]["trained"]
    assert items_of(two.post("/recommend?dataset=books", json={"history": ["b3"], "k": 50})) == BOOKS - {"b3"}


def test_who_is_unknown_to_one_data_set_is_not_known_by_another(two):
    known = two.get("/recommend/reader?dataset=books").json()
    unknown = two.get("/recommend/reader?dataset=tiny&k=50").json()
    assert (known["strategy"], unknown["strategy"]) == ("model", "popularity")
    assert {item["item_id"] for item in unknown["items"]} == FILMS  # nothing counts as seen
    problem(two.get("/recommend/reader?dataset=tiny&strict=true"), 404)
    problem(two.get("/users/reader/history?dataset=tiny"), 404)
    problem(two.get("/items/b3/similar?dataset=tiny"), 404)
    for path in ("/recommend/u01", "/health/ready", "/memory/map", "/items/1/similar"):
        assert "no data set 'nowhere'; there are: books" in problem(two.get(f"{path}?dataset=nowhere"), 404).detail


def test_a_version_says_which_data_set_is_meant(two):
    pinned = two.get("/recommend/u01?dataset=books&k=5").json()
    assert pinned["next"].startswith("/recommend/u01?k=5&offset=5&model=job-2-")
    following = two.get(pinned["next"]).raise_for_status().json()
    assert following["dataset"] == "books"
    detail = problem(two.get(f"{pinned['next']}&dataset=tiny"), 409).detail
    assert "answers for the data set 'books', not for 'tiny'" in detail


def test_health_models_and_metrics_name_both(two):
    ready = Ready.model_validate(two.get("/health/ready").json())
    assert (ready.model_version, ready.dataset) == (None, None)
    assert [(one.dataset, one.in_memory, one.default) for one in ready.in_service] == [
        ("books", True, False),
        ("tiny", True, False),
    ]
    assert two.get("/health/ready?dataset=books").json()["model_version"].startswith("job-2-")
    (warning,) = ready.warnings
    assert "several data sets have models (books, tiny)" in warning
    for path in ("/health/ready", "/recommend/u01"):
        detail = problem(two.get(f"{path}?dataset=other"), 503).detail
        assert "no model of a data set 'other' is in service (there are models of books, tiny): queue a train" in detail
    page = ModelPage.model_validate(two.get("/models").json())
    assert page.serving is None
    assert [model.serving for model in page.models] == [True, True] == [model.active for model in page.models]
    assert [model.dataset for model in ModelPage.model_validate(two.get("/models?dataset=tiny").json()).models] == [
        "tiny"
    ]
    text = two.get("/metrics").text
    for one in ready.in_service:
        assert f'fedmem_model_round{{dataset="{one.dataset}",version="{one.model_version}"}}' in text


def test_the_log_warns_once_that_requests_must_name_a_data_set(both, caplog):
    caplog.set_level(logging.WARNING, "backend")
    with TestClient(create_app(settings_of(both))) as client:
        wait_for_model(client)
        client.app.state.services.keeper.look()
        (said,) = [record.message for record in caplog.records if "set FEDMEM_DATASET" in record.message]
        assert "several data sets have models (books, tiny)" in said
        client.app.state.services.keeper.look()
        assert caplog.text.count("set FEDMEM_DATASET") == 1


def test_a_default_is_a_setting(both):
    with TestClient(create_app(settings_of(both, dataset="books"))) as client:
        wait_for_model(client)
        assert client.get("/recommend/u01").json()["dataset"] == "books"
        assert client.get("/models").json()["serving"].startswith("job-2-")
        assert client.get("/items/b1").json()["image_url"] == "/items/b1/image"
        assert client.get("/items/1?dataset=tiny").json()["image_url"] == "/items/1/image?dataset=tiny"
        assert items_of(client.get("/recommend/u01?dataset=tiny")) <= FILMS


def test_a_default_without_a_model_is_not_answered_by_another(both):
    with TestClient(create_app(settings_of(both, dataset="other"))) as client:
        client.app.state.services.keeper.look()
        detail = problem(client.get("/recommend/u01"), 503).detail
        assert "no model of a data set 'other' is in service, which FEDMEM_DATASET names (there are models of" in detail
        problem(client.get("/health/ready"), 503)
        assert client.get("/recommend/u01?dataset=tiny").status_code == 200


def test_beyond_what_memory_holds_the_one_asked_least_recently_leaves_and_comes_back_once(world, caplog):
    caplog.set_level(logging.INFO, "backend")
    with TestClient(create_app(settings_of(world, models_in_memory=1))) as client:
        wait_for_model(client)
        loads = []
        loader = client.app.state.services.keeper.loader
        load = loader.load
        loader.load = lambda row: loads.append(row.version) or load(row)  # type: ignore[method-assign]
        for dataset in ("tiny", "books", "tiny"):
            with ThreadPoolExecutor(6) as callers:
                found = list(
                    callers.map(lambda _, name=dataset: client.get(f"/recommend/u01?dataset={name}"), range(6))
                )
            assert {response.json()["dataset"] for response in found} == {dataset}
            assert [one["dataset"] for one in client.get("/health/ready").json()["in_service"] if one["in_memory"]] == [
                dataset
            ]
            client.app.state.services.keeper.look()  # which brings nothing back by itself
        assert len(loads) - loads.count(loads[0]) <= 2
        assert 2 <= len(loads) <= 3
        assert client.get("/items?dataset=books").json()["items"][0]["recommendable"]
    said = [record.getMessage() for record in caplog.records if "leaves memory" in record.getMessage()]
    assert "of data set books, which was asked least recently, leaves memory (FEDMEM_MODELS_IN_MEMORY)" in "".join(said)


def test_of_one_data_set_a_few_versions_stay_and_of_all_as_many_as_may(world):
    with TestClient(create_app(settings_of(world, models_in_memory=KEPT))) as client:
        wait_for_model(client)
        served = client.app.state.served
        for _ in range(KEPT):
            client.post(f"/models/{another_model(world, activate=False)}/activate").raise_for_status()
        assert len(served.all()) == KEPT
        # Those that were replaced leave first.
        assert [model.dataset for model in served.all("books")] == ["books"]


def test_one_data_sets_model_leaves_the_others_alone(world, caplog):
    caplog.set_level(logging.INFO, "backend")
    with TestClient(create_app(settings_of(world))) as client, TestClient(create_app(settings_of(world))) as beside:
        wait_for_model(client)
        before = client.get("/recommend/u01?dataset=books").json()["items"]
        left = another_model(world, activate=False)
        client.post(f"/models/{left}/activate").raise_for_status()
        wait_for_model(beside)
        for each in (client, beside):
            assert each.get("/recommend/u01?dataset=tiny").json()["model_version"] == left
            assert each.get("/recommend/u01?dataset=books").json()["items"] == before
        assert any(f"model {left} of data set tiny replaces job-1-" in said for said in caplog.messages)
        text = client.get("/metrics").text
        assert text.count("fedmem_model_round{") == 2


def test_what_happens_in_one_data_set_is_not_seen_in_another(world):
    with TestClient(create_app(settings_of(world))) as client:
        wait_for_model(client)
        before = client.get("/recommend/u02?dataset=books&k=50").json()["items"]
        assert client.delete("/users/u02?dataset=tiny").status_code == 204
        assert client.get("/recommend/u02?dataset=tiny").json()["strategy"] == "popularity"
        assert client.get("/recommend/u02?dataset=books&k=50").json()["items"] == before
        event = {"user_id": "u01", "item_id": "b7", "timestamp": 1_700_000_000}
        client.post("/feedback?dataset=books", json={"events": [event]}).raise_for_status()
        assert "b7" not in items_of(client.get("/recommend/u01?dataset=books&k=50"))
        seen = FILMS - items_of(client.get("/recommend/u01?dataset=tiny&k=50"))
        history = client.get("/users/u01/history?dataset=tiny").json()["interactions"]
        assert seen == {entry["item_id"] for entry in history}


class Encoder:
    """Texts as vectors of the tiny features' size; one about a fault meets it."""

    broken, is_loaded = True, True

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        self.calls.append(texts)
        self.is_loaded = True
        if self.broken and any("fault" in text for text in texts):
            raise MemoryError("no more of it")
        return [np.ones(7, np.float32) for _ in texts]


@pytest.fixture
def encoder(monkeypatch) -> Encoder:
    encoder = Encoder()
    monkeypatch.setattr(new_items, "encoder_of", lambda name: encoder)
    return encoder


def put_elsewhere(world: World, dataset: str, *rows: ItemRow) -> None:
    """Store items as another process does."""
    engine = connect(world.url)
    for row in rows:
        CatalogueStore(engine).put_item(dataset, row)
    engine.dispose()


@pytest.fixture
def services(world: World) -> Iterator[Services]:
    """Both models in service, without an application that looks into the database by itself."""
    services = Services.start(settings_of(world), ServedModels(), CollectorRegistry())
    services.keeper.look()
    yield services
    services.close()


def knows(services: Services, dataset: str, item: str) -> bool:
    return item in services.keeper.served.of(dataset=dataset).recommender.catalogue


def test_items_of_one_that_cannot_be_taken_up_keep_nothing_else_waiting(services, world, encoder, caplog):
    keeper = services.keeper
    put_elsewhere(world, "books", ItemRow("new", "New", text="a fault"))
    put_elsewhere(world, "tiny", ItemRow("new", "New", text="a film"))
    keeper.changes.eraser.erasures.ask(1, {"u03"})
    keeper.look()
    keeper.changes.erase()
    keeper.look()
    assert (knows(services, "books", "new"), knows(services, "tiny", "new")) == (False, True)
    assert keeper.changes.eraser.erasures.pending() == []
    (said,) = keeper.troubles.sentences()
    assert said.startswith("the taking up of changed items of model job-2-round-")
    assert "MemoryError: no more of it" in said
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [said]
    encoder.broken = False
    keeper.look()
    assert knows(services, "books", "new")
    assert keeper.troubles.sentences() == ()


def test_a_first_text_that_is_put_does_not_wait_until_the_encoder_is_loaded(services, encoder):
    """That takes seconds: the next look does it, and what is put after it is known at once."""
    encoder.is_loaded = False
    services.keeper.changes.put_item("tiny", ItemRow("first", "First", text="a film"))
    services.keeper.changes.put_item("tiny", ItemRow("7", "", text=" "))
    assert (encoder.calls, knows(services, "tiny", "first")) == ([], False)
    assert services.catalogue.item("tiny", "first").title == "First"
    known = services.keeper.served.of(dataset="tiny").recommender.catalogue
    assert known.item(known.index("7")).text == " ", "without a text there is nothing to wait for"
    services.keeper.look()
    assert knows(services, "tiny", "first")
    services.keeper.changes.put_item("tiny", ItemRow("second", "Second", text="another film"))
    assert knows(services, "tiny", "second")


def test_what_could_not_be_done_is_among_the_warnings(two):
    with two.app.state.services.keeper.troubles.apart("a trial"):
        raise OSError("no disk")
    several, warning = two.get("/health/ready").json()["warnings"]
    assert warning == "a trial is not possible for now (OSError: no disk); it is tried again"
    with two.app.state.services.keeper.troubles.apart("a trial"):
        pass
    assert two.get("/health/ready").json()["warnings"] == [several]


def test_a_table_that_cannot_be_read_keeps_the_rest_of_a_look_going(services, world, encoder, monkeypatch):
    def broken() -> None:
        raise StorageError("not for now")

    monkeypatch.setattr(services.models, "all_active", broken)
    put_elsewhere(world, "tiny", ItemRow("new", "New", text="a film"))
    with pytest.raises(StorageError, match="not for now"):
        services.keeper.look()
    assert knows(services, "tiny", "new")


def test_models_are_put_into_service_while_an_import_is_encoded(services, world, encoder, monkeypatch):
    """Of seven items, two at a time; the first two meet an activation by another process."""
    left, seen, encode = another_model(world, activate=False), [], encoder.encode

    def watched(texts: list[str]) -> list[np.ndarray]:
        seen.append(services.keeper.served.version_of("tiny"))
        if len(seen) == 1:
            services.models.activate(left, "by another process")
        return encode(texts)

    put_elsewhere(world, "books", *(ItemRow(f"new {number}", text=f"text {number}") for number in range(7)))
    monkeypatch.setattr(model_loader, "PIECE", 2)
    monkeypatch.setattr(encoder, "encode", watched)
    services.keeper.look()
    assert [len(texts) for texts in encoder.calls[:4]] == [2, 2, 2, 1]
    assert seen[0] != left
    assert set(seen[1:]) == {left}
    assert knows(services, "books", "new 6")


def test_who_waits_for_models_leaves_the_threads_to_others():
    """There are 40, for all that asks the database; loads wait for each other, however many data sets are asked."""
    served, begun, go_on = ServedModels(), [], threading.Event()

    class Keeper:
        def bring(self, dataset: str, test: object) -> None:
            begun.append(dataset)
            assert go_on.wait(PATIENCE)

    async def ask_for_all() -> None:
        arrivals = ModelLookup(served, Keeper())
        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(arrivals.of, None, f"d{number}")
            while not begun:
                await anyio.sleep(0.01)
            with anyio.fail_after(PATIENCE / 2):
                await anyio.to_thread.run_sync(lambda: None)
            assert len(begun) == 1
            go_on.set()
        assert len(begun) == 60

    served.expect({f"d{number}": f"v{number}" for number in range(60)})
    anyio.run(ask_for_all)


def many_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put as many items as are not encoded in one piece."""
    put_elsewhere(world, "tiny", *(ItemRow(f"new {number}", text=f"text {number}") for number in range(5)))
    monkeypatch.setattr(model_loader, "PIECE", 2)


def test_a_model_serves_before_many_items_that_it_does_not_know_are_encoded(world, encoder, monkeypatch):
    many_unknown(world, monkeypatch)
    services, encode, seen = Services.start(settings_of(world), ServedModels(), CollectorRegistry()), encoder.encode, []

    def watched(texts: list[str]) -> list[np.ndarray]:
        seen.append(sorted(model.dataset for model in services.keeper.served.all()))
        return encode(texts)

    monkeypatch.setattr(encoder, "encode", watched)
    services.keeper.look()
    assert [len(texts) for texts in encoder.calls[:3]] == [2, 2, 1]
    assert seen[0] == ["books", "tiny"]
    assert knows(services, "tiny", "new 4")
    services.close()


def test_a_service_that_ends_does_not_wait_until_all_is_encoded(world, encoder, monkeypatch):
    many_unknown(world, monkeypatch)
    encode = encoder.encode

    def then_ends(texts: list[str]) -> list[np.ndarray]:
        client.app.state.ending.set()
        heed()
        return encode(texts)

    monkeypatch.setattr(encoder, "encode", then_ends)
    with TestClient(create_app(settings_of(world, refresh_seconds=0.01))) as client:
        until(client.app.state.ending.is_set, "the first text")
    assert encoder.calls == []
    assert client.app.state.services.keeper.loader.refusals == {}


def test_one_whose_model_is_broken_is_not_answered_by_the_other(world):
    spoil(world, 1)
    with TestClient(create_app(settings_of(world))) as client:
        client.app.state.services.keeper.look()
        client.app.state.services.keeper.look()
        assert "job-1-" in problem(client.get("/recommend/u01?dataset=tiny"), 503).detail
        problem(client.get("/recommend/u01"), 409)
        assert items_of(client.get("/recommend/u01?dataset=books")) <= BOOKS
        problem(client.get("/health/ready?dataset=tiny"), 503)


def test_answers_match_their_data_set_while_both_are_promoted_in_turn_and_memory_holds_one(world):
    """Every answer is of the data set that was asked, and none fails, however the models come and go."""
    another = another_model(world, activate=False)
    done, wrong = threading.Event(), []
    with TestClient(create_app(settings_of(world, models_in_memory=1))) as client:
        wait_for_model(client)
        first = {one["dataset"]: one["model_version"] for one in client.get("/health/ready").json()["in_service"]}

        def ask(dataset: str, items: set[str]) -> None:
            while not done.is_set():
                response = client.get(f"/recommend/u01?dataset={dataset}&k=50")
                if response.status_code != 200 or not items_of(response) <= items:
                    wrong.append(response.text)

        askers = [threading.Thread(target=ask, args=each) for each in (("tiny", FILMS), ("books", BOOKS))]
        for asker in askers:
            asker.start()
        for version in (another, first["books"], first["tiny"]):
            client.post(f"/models/{version}/activate").raise_for_status()
        done.set()
        for asker in askers:
            asker.join()
    assert wrong == []
