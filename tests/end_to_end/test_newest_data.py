"""A job that continues another on the newest data: what it takes over, and that a death changes nothing."""

import shutil
import signal
from pathlib import Path

import pytest

from fedmem.errors import ConfigError, ConflictError
from fedmem.memory.transitions import TransitionCounts
from fedmem.storage.ab_tests import AbTestStore
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event, ItemRow
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore
from tests.end_to_end.products import ROUNDS, Product
from tests.memory.test_transitions import same
from tests.waiting import PATIENCE

HERE = Path(__file__).parent
EVENTS = [
    *(Event("u00", f"m{item:02}", 1e6 + item) for item in (3, 9, 27)),
    *(Event("newcomer", f"m{item:02}", 1e6 + item) for item in (1, 2, 4, 8, 16)),
    Event("newcomer", "new", 2e6),
    Event("u01", "new", 2e6),
    Event("u01", "m05", 3e6),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A database with a model in service, and with data that are newer; u05 has left, and is erased already."""
    folder = tmp_path_factory.mktemp("newest")
    product = Product.made(folder)
    product.queue()
    product.train()
    catalogue = CatalogueStore(product.engine)
    catalogue.delete_user("tiny", "u05")
    catalogue.put_item("tiny", ItemRow("new", title="A new film"))
    catalogue.add_feedback("tiny", EVENTS)
    return folder


def product_of(trained: Path, folder: Path) -> Product:
    shutil.copytree(trained, folder)
    return Product(f"sqlite:///{folder / 'fedmem.db'}", folder / "data")


@pytest.fixture
def product(trained: Path, tmp_path: Path) -> Product:
    return product_of(trained, tmp_path / "its")


def going_on(product: Product, more: int = 4):
    return product.queue({"federated": {"num_rounds": ROUNDS + more}}, start_from=1)


def test_it_trains_on_the_newest_data_from_the_model_that_was_best(product):
    first = product.jobs.get(1)
    job = going_on(product)
    product.train()
    found = product.jobs.get(job.id)
    assert found.state == "succeeded"
    assert found.snapshot_digest != first.snapshot_digest
    rows = MetricStore(product.engine).rounds(job.id, after_round=-1)
    assert [row.round for row in rows] == [0, *range(first.best_round, ROUNDS + 5)]
    assert "popularity_HR@10" in rows[0].metrics["validation"]
    assert rows[1].is_best
    assert "NDCG@10" in rows[1].metrics["validation"], "the old model is validated before the first round"
    assert "recommendation_loss" not in rows[1].metrics["train"]
    snapshot = product.directory(job.id).read_snapshot()
    vocabulary = snapshot.dataset.vocabulary
    assert vocabulary.find_user("newcomer") is not None
    assert vocabulary.find_user("u05") is None
    assert "new" in vocabulary.items
    model = ModelStore(product.engine).get(found.model_version)
    stays = found.best_round == first.best_round and ModelStore(product.engine).active("tiny").job_id == 1
    assert model.active or model.held_back or stays, "its model goes through the gate"


def test_each_interaction_is_handed_on_once_and_nothing_of_who_left(product):
    job = going_on(product, more=40)  # so that all have taken part
    product.train()
    dataset = product.directory(job.id).read_snapshot().dataset
    last = product.directory(job.id).checkpoints.read(ROUNDS + 40)
    window = 10
    histories = [dataset.training_history(user)[: last.handed_on[user]] for user in range(dataset.num_users)]
    assert same(last.server.transitions, TransitionCounts.of(histories, dataset.num_items, window))
    assert (last.handed_on == dataset.training_lengths).all()


def test_a_job_that_validates_no_round_says_so(product):
    begun = product.jobs.get(1).best_round
    job = product.queue({"federated": {"num_rounds": begun + 1}}, start_from=1)
    product.train()
    found = product.jobs.get(job.id)
    assert (found.round, found.best_round) == (begun + 1, begun)
    assert found.message.endswith("no round was validated: evaluation.eval_every = 2 and 1 round; lower it")
    assert found.message in product.jobs.logs(job.id)[-1].message


def test_the_old_model_stays_where_no_round_is_better(product):
    first = product.jobs.get(1)
    one_more = {"federated": {"num_rounds": first.best_round + 1}, "evaluation": {"eval_every": 1}}
    job = product.queue(one_more, start_from=1)
    product.train()
    found = product.jobs.get(job.id)
    assert (found.round, found.best_round) == (first.best_round + 1, first.best_round)
    assert found.model_version == f"job-{job.id}-round-{first.best_round}"
    assert found.message.endswith("on the newest data none was better than the model of job 1, which stays")
    models = ModelStore(product.engine)
    assert [row.version for row in models.history()] == [first.model_version]
    assert found.held_back is None, "it is what serves, and does not wait"
    with pytest.raises(ConflictError, match=f"are equal: both are round {first.best_round} of job 1"):
        AbTestStore(product.engine).start(found.model_version, 0.5)


@pytest.fixture(scope="module")
def expected(trained, tmp_path_factory):
    product = product_of(trained, tmp_path_factory.mktemp("whole") / "its")
    job = going_on(product)
    product.train()
    return product.outcome(job.id)


@pytest.mark.parametrize(
    ("point", "number"),
    [
        ("evaluation", 1),  # of the old model, on the newest data
        ("before the commit", 2),  # of that evaluation
        ("training", 3),
    ],
)
def test_a_killed_trainer_changes_nothing(trained, expected, tmp_path, point, number):
    product = product_of(trained, tmp_path / "its")
    job = going_on(product)
    process = product.start(str(HERE / "killed_trainer.py"), point, str(number))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL, f"never came to {point!r} {number} times: {output}"
    CatalogueStore(product.engine).add_feedback("tiny", [Event("u02", "m07", 9e6)])  # which waits for the next job
    product.let_lease_end(job.id)
    product.train()
    assert product.outcome(job.id) == expected


def test_the_newest_model_goes_on_again_and_again(product):
    for night in range(3):
        events = [Event(f"u{user:02}", f"m{(user * 7 + night) % 30 + 1:02}", 4e6 + night) for user in range(4)]
        CatalogueStore(product.engine).add_feedback("tiny", events)
        before = product.jobs.page(limit=1)[0]
        config = {"federated": {"num_rounds": before.model_round + 4}}
        job = product.queue(config, start_from=before.id)
        product.train()
        assert product.jobs.get(job.id).state == "succeeded", product.jobs.get(job.id).message
    last = product.directory(job.id)
    dataset, checkpoint = last.read_snapshot().dataset, last.checkpoints.read(product.jobs.get(job.id).round)
    histories = [dataset.training_history(user)[: checkpoint.handed_on[user]] for user in range(dataset.num_users)]
    assert same(checkpoint.server.transitions, TransitionCounts.of(histories, dataset.num_items, 10))


def test_a_job_whose_predecessor_lost_its_folder_says_so(product):
    job = going_on(product)
    shutil.rmtree(product.directory(1).path)
    product.train()
    found = product.jobs.get(job.id)
    assert found.state == "failed"
    assert f"job {job.id} continues job 1, whose checkpoints are no longer in" in found.message
    assert "train anew without start_from" in found.message


def test_other_settings_are_refused_with_the_key(product):
    with pytest.raises(ConfigError, match=r"training.loss was 'full_softmax' when job 1 began"):
        product.queue({"training": {"loss": "bpr"}, "federated": {"num_rounds": ROUNDS + 1}}, start_from=1)
