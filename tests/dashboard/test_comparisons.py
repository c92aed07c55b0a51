"""Jobs side by side: those that do not compare are told apart, and snapshots are named."""

from datetime import UTC, datetime

import pytest

from dashboard.comparisons import comparable, compare_jobs, why_not
from fedmem.config_reader import validate_config
from fedmem.contracts import Job
from tests.dashboard.example_rounds import Curves
from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import backend_on, word_tables
from tests.dashboard.test_pages import specs, words
from tests.end_to_end.products import Product


def job(number: int, dataset: str = "tiny", snapshot: str = "a" * 64, **config: object) -> Job:
    return Job(
        id=number,
        kind="training",
        dataset=dataset,
        state="queued",
        desired_state="running",
        round=0,
        num_rounds=20,
        best_round=None,
        clients_done=0,
        clients_selected=0,
        created_at=datetime.fromtimestamp(0, UTC),
        started_at=None,
        finished_at=None,
        worker=None,
        attempts=0,
        start_from=None,
        snapshot_digest=snapshot,
        model_version=None,
        promotion=None,
        model_waits=None,
        message=None,
        config=validate_config(config, "the test"),
    )


def test_what_differs_is_named_with_snapshots():
    found = compare_jobs([job(1), job(2, snapshot="b" * 64, seed=7)])
    assert found.differences.keys() == {"snapshot", "seed"}
    assert "job 1 and job 2 have different snapshots" in found.note


def test_jobs_are_grouped_by_what_compares():
    jobs = [job(1), job(2, data={"min_sequence_length": 9}), job(3, seed=7), job(4, "books")]
    assert [[one.id for one in group] for group in comparable(jobs)] == [[1, 3], [2], [4]]
    assert why_not(jobs[0], jobs[2]) is None
    assert "data.min_sequence_length is 5 in job 1 and 9 in job 2" in why_not(*jobs[:2])


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """Jobs 1 and 2 compare, 3 is of another split, 4 of another data set; all are tested."""
    product = Product.made(tmp_path_factory.mktemp("comparisons"))
    product.write("books", "b", "Book")
    trainer = PretendedTrainer(product.url)
    for dataset, changes in (
        ("tiny", {}),
        ("tiny", {"seed": 7}),
        ("tiny", {"data": {"min_sequence_length": 9}}),
        ("books", {}),
    ):
        trainer.queue(dataset, federated={"num_rounds": 20}, **changes)
        lease = trainer.claim()
        trainer.train(lease, 20, Curves())
        trainer.finish(lease, Curves())
    with backend_on(product.url, product.data_dir) as address:
        yield address


def runs_drawn(app):
    return specs(app)[0]["layer"][0]["encoding"]["color"]["scale"]["domain"]


def test_training_refuses_what_does_not_compare(page, api):
    app = page("training", api, job=1, compare="2,3,4")
    said = words(app)
    assert "Data.min_sequence_length is 5 in job 1 and 9 in job 3" in said
    assert "Job 1 was trained on data set 'tiny' and job 4 on 'books'" in said
    assert runs_drawn(app)[:2] == ["Job 1", "Job 2"]
    assert not {"Job 3", "Job 4"} & set(runs_drawn(app))
    assert list(word_tables(app)[0]["Setting"]) == ["seed"]


def test_experiments_of_another_split_have_a_table_of_their_own(page, api):
    app = page("experiments", api)
    tables = [sorted(set(shown["Job"]) - {"baseline"}) for shown in word_tables(app) if "Job" in shown]
    assert sorted(tables) == [["1", "2"], ["3"], ["4"]]
    assert "apart from the others" in words(app)
    assert "Data.min_sequence_length is 5 in job" in words(app)
