"""Jobs are removed on the Training page: what goes is shown, and the job is named when it is asked."""

import pytest

from fedmem.errors import UnknownJobError
from tests.dashboard.example_rounds import Curves
from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import backend_on
from tests.dashboard.test_pages import words
from tests.end_to_end.products import Product


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Product:
    return Product.made(tmp_path_factory.mktemp("removal"))


@pytest.fixture(scope="module")
def trainer(product) -> PretendedTrainer:
    """Job 1 has failed with a folder of two megabytes, 2 serves, 3 waits."""
    trainer = PretendedTrainer(product.url)
    for ending in ("failed", "succeeded"):
        trainer.queue("tiny", federated={"num_rounds": 20})
        lease = trainer.claim()
        trainer.train(lease, 20, Curves())
        if ending == "failed":
            trainer.jobs.finish(lease, "failed", message="it broke")
        else:
            trainer.finish(lease, Curves())
    trainer.queue("tiny")
    folder = product.data_dir / "jobs" / "1"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * 2**21)
    return trainer


@pytest.fixture(scope="module")
def api(product, trainer):
    with backend_on(product.url, product.data_dir) as address:
        yield address


def test_a_job_is_removed_when_it_is_confirmed(page, api, trainer, product):
    app = page("training", api, job=1)
    assert "20 rounds of metrics, its log and its checkpoints: 2.1 MB on the disk" in words(app)
    app.button(key="remove-job").click().run()
    assert "Job 1 · FedMem-Full, tiny goes for good." in words(app).replace("**", "")
    assert trainer.jobs.get(1), "it is asked first"
    app.button(key="confirm-remove-job").click().run()
    with pytest.raises(UnknownJobError):
        trainer.jobs.get(1)
    assert not (product.data_dir / "jobs" / "1").exists()
    assert app.sidebar.selectbox[0].value != 1


def test_one_that_serves_says_why_it_stays(page, api):
    app = page("training", api, job=2)
    assert "job 2 cannot be removed: its model job-2-round-20 is in service" in words(app)
    assert "remove-job" not in {button.key for button in app.button}


def test_one_that_has_not_ended_is_not_offered(page, api):
    assert "remove-job" not in {button.key for button in page("training", api, job=3).button}
