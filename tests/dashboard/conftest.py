"""One real backend on a database with two trained jobs and one under way, and one on an empty database."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from streamlit.testing.v1 import AppTest

import migrations
from dashboard import transport
from fedmem.contracts import LeakReport
from fedmem.serving import write_leaks
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event
from fedmem.storage.engine import writing
from fedmem.storage.impressions import ImpressionStore, ShownList
from fedmem.storage.jobs import Lease
from fedmem.storage.schema import jobs
from tests.dashboard.example_rounds import Curves
from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import asked, backend_on, open_page
from tests.end_to_end.products import Product
from tests.example_experiments import ABLATION, STUDY, write_experiment
from tests.tiny import LEAK
from tests.waiting import PATIENCE, until


@dataclass(frozen=True)
class Filled:
    """The jobs of the filled database, and where its API is."""

    api: str
    full: int
    without_memory: int
    running: int
    trainer: PretendedTrainer
    lease: Lease

    def get(self, path: str) -> dict:
        """What the API answers."""
        return asked(f"{self.api}{path}").raise_for_status().json()

    def post(self, path: str, **body: object) -> dict:
        """What the API answers to what is asked of it."""
        return httpx.post(f"{self.api}{path}", json=body, timeout=PATIENCE).raise_for_status().json()

    def advance(self) -> None:
        """Another round of the job under way."""
        self.trainer.train(self.lease, self.get(f"/jobs/{self.running}")["round"] + 1, Curves())

    def activate(self, version: str) -> None:
        """Put a model into service, and see it there."""
        httpx.post(f"{self.api}/models/{version}/activate", timeout=PATIENCE).raise_for_status()
        until(lambda: self.get("/models")["serving"] == version, f"{version} in service", pause=0.05)


@pytest.fixture(scope="session")
def empty_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A backend without data."""
    folder = tmp_path_factory.mktemp("empty")
    url = f"sqlite:///{folder / 'fedmem.db'}"
    migrations.upgrade(url)
    with backend_on(url, folder / "data") as api:
        yield api


def note_answers(product: Product) -> None:
    """Three answers to a user, one of which led to a click."""
    shown = [
        ShownList("tiny", f"answer {n}", "u03", "job-1-round-8", "model", time.time(), 1, ("m01", "m02", "m03"))
        for n in range(3)
    ]
    ImpressionStore(product.engine).add(shown)
    click = Event("u03", "m02", time.time(), "click", trains=False, recommendation_id="answer 1")
    CatalogueStore(product.engine).take_feedback("tiny", [click])


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A backend with a model in service."""
    product = Product.made(tmp_path_factory.mktemp("filled"))
    full = product.queue()
    without_memory = product.queue({"ablation": {"disable_memory": True}}, kind="experiment")
    product.train()
    write_leaks(product.data_dir / "jobs" / str(full.id), LeakReport(job_id=full.id, round=8, clients=7, leaks=(LEAK,)))
    write_experiment(product.data_dir, "search", "study.json", STUDY)
    write_experiment(product.data_dir, "ladder", "ablation.json", ABLATION)
    note_answers(product)
    trainer = PretendedTrainer(product.url)
    running = trainer.queue("tiny", federated={"num_rounds": 100})
    lease = trainer.claim()
    trainer.train(lease, 25, Curves(), seconds=3.0)
    with backend_on(product.url, product.data_dir) as api:
        yield Filled(api, full.id, without_memory.id, running.id, trainer, lease)


@pytest.fixture(scope="session")
def two_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A backend with two data sets, each of which has a model in service; job 3's waits to serve the first."""
    product = Product.made(tmp_path_factory.mktemp("two"))
    product.write("books", "b", "Book")
    for dataset in ("tiny", "books"):
        product.queue({"federated": {"num_rounds": 2}}, dataset=dataset)
    product.queue({"federated": {"num_rounds": 2}}, promotion="manual")
    product.train()
    with backend_on(product.url, product.data_dir) as api:
        until(lambda: asked(f"{api}/health/ready?dataset=books").is_success, "both models", pause=0.05)
        yield api


@pytest.fixture(scope="session")
def crowded_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A backend with 55 queued jobs, the last of which another version of FedMem has configured."""
    product = Product.made(tmp_path_factory.mktemp("crowded"))
    trainer = PretendedTrainer(product.url)
    for _ in range(55):
        last = trainer.queue("tiny")
    strange = jobs.update().where(jobs.c.id == last.id).values(config={"federated": {"of_tomorrow": 1}})
    with writing(product.engine) as connection:
        connection.execute(strange)
    with backend_on(product.url, product.data_dir) as api:
        yield api


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """``page("training", api, job=1)``: a page after its first run, without an exception."""

    def opened(name: str, api: str, **query: object) -> AppTest:
        monkeypatch.setenv("FEDMEM_API_URL", api)
        monkeypatch.setattr(transport, "TIMEOUT", PATIENCE)  # a busy machine's backend answers late
        return open_page(name, **query)

    return opened
