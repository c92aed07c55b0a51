"""Jobs that were begun before a rule about beginning: what is stored of them is read as ever, and they go on."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from backend.settings import Settings
from fedmem.storage.jobs import JobRow
from tests.cli.conftest import called
from tests.end_to_end.products import Product
from tests.waiting import until
from trainer.job_recorder import JobRecorder

# Released after round 7, which no validation follows: half of the clients take part in a round.
TOO_FEW = {"federated": {"num_rounds": 7, "client_fraction": 0.5}, "privacy": {"transitions_epsilon": 2.0}}


@pytest.fixture
def product(tmp_path) -> Product:
    return Product.made(tmp_path)


@pytest.fixture
def begun(product: Product) -> JobRow:
    """A job that an earlier version took up, and that waits after a few rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedmem.snapshot.check_startable", lambda config: None)
        patch.setattr(JobRecorder, "_remove_old", lambda self: self._control._shutdown.ask())
        job = product.queue(TOO_FEW)
        product.train()
    found = product.jobs.get(job.id)
    assert (found.state, 0 < found.round < 7) == ("queued", True)
    return found


@pytest.fixture
def api(product: Product) -> Iterator[TestClient]:
    settings = Settings(
        _env_file=None,
        refresh_seconds=0.05,
        database_url=product.url,
        data_dir=product.data_dir,
        allowed_hosts="testserver",
    )
    with TestClient(create_app(settings)) as client:
        yield client


def test_it_goes_on_and_is_listed_served_evaluated_and_rid_of_a_deleted_user(product, begun, api):
    product.train()
    assert product.jobs.get(begun.id).state == "succeeded", product.jobs.get(begun.id).message
    (job,) = api.get("/jobs").json()["jobs"]
    assert job["config"]["federated"]["num_rounds"] == 7
    assert job["config_refused"] == []
    until(lambda: api.get("/health/ready").status_code == 200, "the model")
    assert api.get("/recommend/u01").json()["strategy"] == "model"
    folder = product.directory(begun.id).path
    outcome = called("evaluate", folder)
    assert outcome.code == 0, outcome.err
    assert api.delete("/users/u03").status_code == 204
    assert "u03" not in product.directory(begun.id).read_dataset().vocabulary.users


def test_none_begins_so_anew(product, begun, api):
    answer = api.post("/jobs", json={"dataset": "tiny", "config": begun.config})
    assert answer.status_code == 422
    assert "num_rounds = 7 with privacy.transitions_epsilon" in answer.json()["detail"]
    waiting = product.queue(TOO_FEW)
    product.train()
    found = product.jobs.get(waiting.id)
    assert found.state == "failed"
    assert "Set federated.num_rounds to 8 or more" in found.message
