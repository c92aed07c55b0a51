"""A database with a data set, a finished job and its run directory for all tests; each test has a copy of its own."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from starlette.testclient import TestClient

import migrations
from backend.app import create_app
from backend.server import Server, listen
from backend.settings import Settings
from fedmem.checkpoint import RunDirectory
from fedmem.contracts import Problem
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Interactions, Item
from fedmem.memory.prototype_map import PrototypeMap, describe
from fedmem.modality import Modality
from fedmem.serving import Recommender
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore, RoundResult, StoredPrototypes
from tests.databases import fill
from tests.tiny import ITEMS, tiny_snapshot, trained, walks
from tests.waiting import PATIENCE, until

GENRES = (("Comedy",), ("Drama",), ("Comedy", "Drama"), ())
ROUNDS = 6
SHARES = {"sequence": 0.75, "remembered": 0.25}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory."""
    return trained(tmp_path_factory.mktemp("backend") / "run", tiny_snapshot(dataset=dataset())).directory.path


def catalogue() -> list[Item]:
    """Films with titles, genres and years, and no texts."""
    return [
        Item(str(number), f"Film {number}", GENRES[number % 4], 1990 + number % 3, text=f"Film {number}")
        for number in range(1, ITEMS + 1)
    ]


def columns() -> tuple[list[str], list[str], list[float]]:
    """Users, items and times of walks through the catalogue."""
    rows = [
        (f"u{user:02d}", str(item), float(1000 * user + place))
        for user, walk in enumerate(walks(12, ITEMS))
        for place, item in enumerate(walk)
    ]
    users, items, times = zip(*rows, strict=True)
    return list(users), list(items), list(times)


def dataset() -> FederatedDataset:
    """The same as the trainer would read it from the database."""
    users, items, times = (
        np.array(column, kind) for column, kind in zip(columns(), (object, object, float), strict=True)
    )
    return FederatedDataset.from_interactions(Interactions(users, items, times), catalogue(), name="tiny")


@dataclass(frozen=True)
class World:
    """A database file, or a schema of PostgreSQL with the same rows, and a folder of checkpoints."""

    file: Path
    data_dir: Path
    schema: str | None = None

    @property
    def url(self) -> str:
        """For DATABASE_URL."""
        return self.schema or f"sqlite:///{self.file}"

    @property
    def database(self) -> Path:
        """The file, for tests that damage it, hold its lock, or look into it past the product."""
        if self.schema:
            pytest.skip("the test is about an SQLite file")
        return self.file


@pytest.fixture(scope="session")
def empty_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two data sets, no job."""
    folder = tmp_path_factory.mktemp("backend")
    world = World(folder / "fedmem.db", folder / "data")
    world.data_dir.mkdir()
    migrations.upgrade(world.url)
    engine = connect(world.url)
    store = CatalogueStore(engine)
    cover = folder / "cover.png"
    cover.write_bytes(b"\x89PNG\r\n\x1a\n and so on")
    items = [ItemRow(i.item_id, i.title, i.genres, i.year, None, i.text) for i in catalogue()]
    items[0] = ItemRow("1", "Film 1", items[0].genres, items[0].year, str(cover), "Film 1")
    store.write("tiny", "test", InteractionColumns(*columns()), items)
    store.write(
        "other", "test", InteractionColumns(["u"] * 5, ["a"] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]), [ItemRow("a", "A")]
    )
    engine.dispose()
    return world


@pytest.fixture(scope="session")
def full_world(empty_world: World, run: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Besides, job 1 succeeded and its model is active; rounds 2, 4 and 6 were evaluated."""
    world = copy_of(empty_world, tmp_path_factory.mktemp("backend"))
    folder = world.data_dir / "jobs" / "1"
    shutil.copytree(run, folder)
    directory = RunDirectory(folder)
    record, digest = directory.read_record(), directory.read_snapshot().dataset.digest
    drawn, described = draw(directory, record.best)
    engine = connect(world.url)
    jobs, last_id = JobStore(engine), CatalogueStore(engine).snapshot("tiny").last_id
    config = directory.read_config().model_dump(mode="json")
    jobs.create(kind="training", dataset="tiny", config=config, num_rounds=ROUNDS)
    _, lease = jobs.claim("trainer", 600, 3)
    jobs.begin(lease, snapshot_digest=digest, last_interaction_id=last_id)
    for number in range(1, ROUNDS + 1):
        metrics = {"train": {"recommendation_loss": 1 / number, "prototype_collapse": 0.5}}
        prototypes = StoredPrototypes(b"", described) if number % 2 == 0 else None
        jobs.commit_round(lease, RoundResult(number, number == record.best, f"{number:06d}", metrics, prototypes))
    directory.write_map(drawn)
    test = {"HR@10": 0.5} | {f"share_{part}": share for part, share in SHARES.items()}
    jobs.finish(lease, "succeeded", model_round=record.best, activate=True, test=test, test_round=record.best)
    engine.dispose()
    return world


def draw(directory: RunDirectory, number: int):
    """The map of a run, and its prototypes as the trainer describes them."""
    features = directory.read_snapshot().features
    texts = features.vectors[Modality.TEXT]
    vectors, mask = texts.rows[1:], texts.mask[1:]
    drawn = PrototypeMap.of(Modality.TEXT, vectors, mask)
    return drawn, describe(directory.checkpoints.read_server(number).global_memory, None, drawn, vectors, mask)


def copy_of(world: World, folder: Path) -> World:
    """A world of its own."""
    shutil.copytree(world.data_dir, folder / "data")
    return World(Path(shutil.copy(world.file, folder / "fedmem.db")), folder / "data")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests on both kinds of database whose module says so, and with ``--postgresql`` all of them."""
    wanted = metafunc.config.getoption("postgresql") or getattr(metafunc.module, "ON_BOTH_DATABASES", False)
    if wanted and "make_copy" in metafunc.fixturenames:
        metafunc.parametrize("make_copy", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def make_copy(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[World], World]:
    """What makes a test's own copy of a world, on the kind of database that the test is run on."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return lambda world: copy_of(world, tmp_path)
    schema = request.getfixturevalue("postgresql_migrated_url")

    def copy(world: World) -> World:
        fill(schema, world.url)
        return replace(copy_of(world, tmp_path), schema=schema)

    return copy


@pytest.fixture
def world(empty_world: World, make_copy: Callable[[World], World]) -> World:
    """A copy of the world without a job."""
    return make_copy(empty_world)


@pytest.fixture
def served_world(full_world: World, make_copy: Callable[[World], World]) -> World:
    """A copy of the world with a model."""
    return make_copy(full_world)


@pytest.fixture(scope="session")
def recommender(full_world: World) -> Recommender:
    """The model of job 1, loaded beside the application's own."""
    best = RunDirectory(full_world.data_dir / "jobs" / "1").read_record().best
    return Recommender.load(full_world.data_dir / "jobs" / "1", best, f"job-1-round-{best}").with_held_out()


@pytest.fixture
def engine(world: World) -> Iterator[Engine]:
    """Beside the application's own."""
    engine = connect(world.url)
    yield engine
    engine.dispose()


@pytest.fixture
def jobs(engine: Engine) -> JobStore:
    """As the trainer sees the jobs."""
    return JobStore(engine)


def settings_of(world: World, **changed: object) -> Settings:
    """The tests' settings, untouched by the environment."""
    values = {"database_url": world.url, "data_dir": world.data_dir, "refresh_seconds": 0.05}
    values["allowed_hosts"] = "testserver"  # as the test client calls it
    return Settings(_env_file=None, **(values | changed))


@pytest.fixture
def settings(world: World) -> Callable[..., Settings]:
    """``settings(api_key="k")``: for the world without a job."""
    return lambda **changed: settings_of(world, **changed)


@pytest.fixture
def client(settings: Callable[..., Settings]) -> Iterator[TestClient]:
    """The application, started, without a job."""
    with TestClient(create_app(settings())) as client:
        yield client


@pytest.fixture
def served(served_world: World) -> Iterator[TestClient]:
    """The application with the model of job 1 in service."""
    with TestClient(create_app(settings_of(served_world))) as client:
        wait_for_model(client)
        yield client


def wait_for_model(client: TestClient) -> None:
    """Look into the database at once, instead of waiting for the application to do so."""
    client.app.state.services.keeper.look()
    ready = client.get("/health/ready")
    assert ready.status_code == 200, ready.text


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[tuple[Server, str]]:
    """An application behind a real socket: the server, and its address."""
    with listen("127.0.0.1", 0) as listener:
        server = Server(app)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            until(lambda: server.started, "the server")
            yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def problem(response: httpx.Response, status: int) -> Problem:
    """The problem of an answer that must have this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate(response.json())
    assert (found.status, found.request_id) == (status, response.headers["x-request-id"])
    return found
