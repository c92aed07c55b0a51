"""One trained run and one migrated database for all tests of the backend; each test has its own copy of the latter."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

import migrations
from backend.app import create_app
from backend.settings import Settings
from fedmem.contracts import Problem
from fedmem.storage.engine import connect, writing
from fedmem.storage.jobs import JobStore
from tests.tiny import trained


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory."""
    return trained(tmp_path_factory.mktemp("backend") / "run").directory.path


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database at head that knows two empty data sets."""
    path = tmp_path_factory.mktemp("backend") / "migrated.db"
    url = f"sqlite:///{path}"
    migrations.upgrade(url)
    engine = connect(url)
    with writing(engine) as connection:
        for name in ("tiny", "other"):
            row = {"name": name, "time": time.time()}
            connection.execute(
                text("INSERT INTO datasets (name, source, imported_at) VALUES (:name, 'test', :time)"), row
            )
    engine.dispose()
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Path:
    """A copy of the database."""
    return Path(shutil.copy(migrated, tmp_path / "fedmem.db"))


@pytest.fixture
def engine(database: Path) -> Iterator[Engine]:
    """Beside the application's own."""
    engine = connect(f"sqlite:///{database}")
    yield engine
    engine.dispose()


@pytest.fixture
def jobs(engine: Engine) -> JobStore:
    """As the trainer sees the jobs."""
    return JobStore(engine)


@pytest.fixture
def settings(database: Path, tmp_path: Path) -> Callable[..., Settings]:
    """``settings(api_key="k")``: the tests' settings, untouched by the environment."""

    def make(**changed: object) -> Settings:
        values = {"database_url": f"sqlite:///{database}", "data_dir": tmp_path / "data", "refresh_seconds": 0.05}
        return Settings(_env_file=None, **(values | changed))

    return make


@pytest.fixture
def client(settings: Callable[..., Settings]) -> Iterator[TestClient]:
    """The application, started."""
    with TestClient(create_app(settings())) as client:
        yield client


def problem(response: httpx.Response, status: int) -> Problem:
    """The problem of an answer that must have this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate(response.json())
    assert (found.status, found.request_id) == (status, response.headers["x-request-id"])
    return found
