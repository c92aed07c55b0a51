"""Promotion: which model of a finished job goes into service, and what is said where it does not."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedmem.checkpoint import RunDirectory
from fedmem.data.interactions import Item
from fedmem.evaluation.evaluate import evaluate
from fedmem.evaluation.metric_table import MetricSums
from fedmem.interruption import heed
from fedmem.serving import Recommender, TransferredScorer, new_items
from fedmem.storage import schema
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event, ItemRow
from fedmem.storage.engine import writing
from fedmem.storage.models import ModelStore
from tests.end_to_end.products import Product
from tests.tiny import tiny_snapshot
from tests.tiny import trained as trained_run
from tests.waiting import PATIENCE
from trainer.dataset import load_dataset
from trainer.promotion import METRIC, Gate, verdict

# As good as untrained, and without what is counted.
WORSE = {
    "federated": {"num_rounds": 1, "server_learning_rate": 1e-9},
    "evaluation": {"eval_every": 1},
    "ablation": {"disable_transitions": True},
}


def table(*ranks: float):
    """The metrics of users with these ranks."""
    found = np.array(ranks)
    return replace(MetricSums.of(found, (10,), ("NDCG",)).table(), users=np.arange(len(found)), ranks=found)


def test_a_first_model_must_beat_popularity_alone():
    assert verdict(table(1, 1), table(2, 2), None, None).serve
    for own in (table(2, 2), table(3, 3)):
        found = verdict(own, table(2, 2), None, None)
        assert not found.serve
        assert "not above that of popularity, 0.6309" in found.reason


def test_another_may_be_worse_by_a_standard_error_and_no_more():
    popularity, serving = table(30, 30, 30, 30), table(1, 1, 2, 2)
    assert verdict(table(1, 1, 2, 2), popularity, serving, "old").serve
    assert verdict(table(1, 2, 2, 1), popularity, serving, "old").serve  # the difference is not one
    assert verdict(table(2, 1, 2, 2), popularity, serving, "old").serve is True  # by exactly one standard error
    found = verdict(table(2, 2, 3, 3), popularity, serving, "old")
    assert (found.serve, found.compared, found.against) == (False, True, "old")
    assert "worse than 0.8155 of old (paired difference -0.2500 " in found.reason
    assert verdict(table(1), table(2), table(1), "old").serve  # one user has no standard error


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose only job has left a good model."""
    folder = tmp_path_factory.mktemp("promotion")
    product = Product.made(folder)
    product.queue()
    product.train()
    return folder


@pytest.fixture
def product(trained: Path, tmp_path: Path) -> Product:
    shutil.copytree(trained, tmp_path / "its")
    return Product(f"sqlite:///{tmp_path / 'its' / 'fedmem.db'}", tmp_path / "its" / "data")


def serving(product: Product, dataset: str = "tiny") -> str:
    return ModelStore(product.engine).active(dataset).version


def test_the_first_job_serves_and_its_history_says_why(product):
    (first,) = ModelStore(product.engine).history()
    best = product.jobs.get(1).best_round
    assert (first.version, first.dataset, first.until) == (f"job-1-round-{best}", "tiny", None)
    assert first.reason.startswith(f"validation {METRIC} on the newest data is ")
    assert "above that of popularity" in first.reason


def test_a_worse_model_waits_and_says_why_until_the_operator_serves_it(product):
    before = serving(product)
    job = product.queue(WORSE)
    assert "waits, ready" in product.train()
    held = product.jobs.get(job.id)
    assert (held.state, held.model_version) == ("succeeded", f"job-{job.id}-round-1")
    assert serving(product) == before
    models = ModelStore(product.engine)
    row = models.get(held.model_version)
    assert (row.active, row.served_before, row.held_back) == (False, False, held.held_back)
    assert "on the newest data is" in held.held_back
    (said,) = [line for line in product.jobs.logs(job.id) if "waits, ready" in line.message]
    assert said.level == "WARNING"
    assert held.held_back in said.message
    assert f"POST /models/{held.model_version}/activate" in said.message
    models.activate(held.model_version, "asked for")
    assert product.jobs.get(job.id).held_back is None
    assert models.roll_back("tiny", "rolled back").version == before
    assert [row.version for row in models.history()] == [before, held.model_version, before]


@pytest.mark.parametrize("mode", ["auto", "manual"])
def test_a_job_may_say_it_otherwise(product, mode):
    before = serving(product)
    job = product.queue(WORSE if mode == "auto" else {}, promotion=mode)
    product.train()
    assert serving(product) == (f"job-{job.id}-round-1" if mode == "auto" else before)
    assert product.jobs.get(job.id).held_back == (None if mode == "auto" else "promotion is manual")


def test_an_experiment_never_serves_and_does_not_wait(product):
    before = serving(product)
    job = product.queue(kind="experiment", promotion="auto")
    product.train()
    assert serving(product) == before
    assert product.jobs.get(job.id).held_back is None


def test_another_data_sets_model_is_not_compared_with(product):
    before = serving(product)
    product.write("books", "b", "Book")
    product.queue({"federated": {"num_rounds": 2}}, dataset="books")
    product.train()
    assert serving(product) == before
    (reason,) = [row.reason for row in ModelStore(product.engine).history("books")]
    assert "above that of popularity" in reason


def test_a_model_that_cannot_be_read_is_none(product):
    shutil.rmtree(product.directory(1).path)
    job = product.queue()
    assert "cannot be compared with" in product.train()
    assert serving(product) == product.jobs.get(job.id).model_version


def test_where_it_cannot_be_read_the_one_that_stands_in_is_compared_with(product):
    product.queue(promotion="auto")
    product.train()
    stand_in = ModelStore(product.engine).history()[1].version
    shutil.rmtree(product.directory(2).path)
    job = product.queue(WORSE)
    product.train()
    assert f" of {stand_in} (paired difference -" in product.jobs.get(job.id).held_back
    good = product.queue()
    product.train()
    assert serving(product) == product.jobs.get(good.id).model_version


def test_one_that_went_into_service_meanwhile_is_not_replaced_unseen(product, monkeypatch):
    """The operator's choice between comparison and end stands."""
    other = product.queue(promotion="manual")
    product.train()
    chosen = product.jobs.get(other.id).model_version
    job = product.queue()
    models = ModelStore(product.engine)
    monkeypatch.setattr(
        "trainer.promotion.verdict", lambda *args: models.activate(chosen, "asked for") and verdict(*args)
    )
    product.train()
    assert serving(product) == chosen
    assert "another model went into service" in product.jobs.get(job.id).held_back


def test_a_gate_that_fails_keeps_the_finished_job(product, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("trainer.promotion.verdict", broken)
    before, job = serving(product), product.queue()
    product.train()
    found = product.jobs.get(job.id)
    assert (found.state, serving(product)) == ("succeeded", before)
    assert found.held_back == "it could not be validated on the newest data (RuntimeError)"


class Died(BaseException):
    """The end of the trainer's process, which leaves its job to the lease."""


def test_a_gate_that_trainers_die_of_is_left_out_in_the_last_attempt(product, monkeypatch):
    def die(*_: object) -> None:
        raise Died

    monkeypatch.setattr(Gate, "judge", die)
    before, job = serving(product), product.queue()
    for deaths in (0, int(product.environment["FEDMEM_MAX_ATTEMPTS"]) - 2):
        with writing(product.engine) as connection:
            row = schema.jobs.update().where(schema.jobs.c.id == job.id)
            connection.execute(row.values(attempts_without_progress=deaths))
        with pytest.raises(Died):
            product.train()
        product.let_lease_end(job.id)
    product.train()
    found = product.jobs.get(job.id)
    assert (found.state, serving(product)) == ("succeeded", before)
    assert "could not be validated on the newest data: this was left out in the last attempt" in found.held_back


class Interrupted(Exception):
    pass


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Of a run in folder 1, on data with twenty items more than it was trained on."""
    run = trained_run(tmp_path / "1", tiny_snapshot())
    dataset = run.snapshot.dataset
    new = [Item(f"new {number}", f"Film {number}", text=f"Film {number}") for number in range(20)]
    known = dataset.vocabulary
    vocabulary = replace(known, items=(*known.items, *(item.item_id for item in new)))
    return Gate(
        replace(dataset, items=(*dataset.items, *new), vocabulary=vocabulary),
        lambda job: tmp_path / str(job),
        0,
        lambda: None,
    )


def test_a_stop_is_heeded_between_the_texts_of_new_items(gate, monkeypatch):
    encoded = []

    class Encoder:
        def encode(self, texts: list[str]) -> list[np.ndarray]:
            for text in texts:
                heed()
                encoded.append(text)
            return [np.ones(7, np.float32) for _ in texts]

    def go_on() -> None:
        if len(encoded) >= 3:
            raise Interrupted

    monkeypatch.setattr(new_items, "encoder_of", lambda name: Encoder())
    best = RunDirectory(gate.folder_of(1)).read_record().best
    with pytest.raises(Interrupted):
        replace(gate, go_on=go_on).judge(1, best, [])
    assert len(encoded) == 3, "of twenty"


def test_a_stop_does_not_wait_for_a_model_that_is_read(gate, monkeypatch):
    begun, let, read = threading.Event(), threading.Event(), []

    def slow(*_: object) -> None:
        begun.set()
        assert let.wait(PATIENCE)
        read.append(True)

    def go_on() -> None:
        if begun.is_set():
            raise Interrupted

    monkeypatch.setattr(Recommender, "load", slow)
    with pytest.raises(Interrupted):
        replace(gate, go_on=go_on).judge(1, 1, [])
    assert not read
    let.set()


def test_what_the_gate_measures_is_what_training_has_validated(product):
    job, store = product.jobs.get(1), CatalogueStore(product.engine)
    newest, _ = load_dataset(store, "tiny", min_sequence_length=3)
    scorer = TransferredScorer(Recommender.load(product.directory(1).path, job.best_round), newest)
    measured = evaluate(newest, scorer, "validation", k_list=(10,), metrics=("NDCG",)).mean(METRIC)
    row = next(row for row in product.rows(1)["metrics"] if row[:3] == (job.best_round, "validation", METRIC))
    assert measured == pytest.approx(row[3], abs=1e-6)


def test_both_are_measured_on_the_newest_data(product):
    """New interactions, users and items; an item without a text comes last for a model that does not know it."""
    store = CatalogueStore(product.engine)
    store.put_item("tiny", ItemRow("new", title="New"))
    events = [Event("u01", "new", 1000.0), Event("u01", "m03", 1001.0)]
    events += [Event("comer", f"m{number:02d}", 2000.0 + number) for number in range(1, 8)]
    store.add_feedback("tiny", events, 100)
    newest, _ = load_dataset(store, "tiny", min_sequence_length=3)
    scorer = TransferredScorer(Recommender.load(product.directory(1).path, product.jobs.get(1).best_round), newest)
    users = np.array([newest.vocabulary.user_index(name) for name in ("u01", "comer")])
    scores = scorer.score(users, [newest.validation_input(user) for user in users])
    new = [item.item_id for item in newest.items].index("new") + 1
    assert np.isneginf(scores[:, new]).all()
    assert np.isfinite(np.delete(scores, new, axis=1)[:, 1:]).all()
    job = product.queue()
    product.train()
    assert serving(product) == product.jobs.get(job.id).model_version
    assert ModelStore(product.engine).history()[0].reason.count("job-1-round-") == 1
