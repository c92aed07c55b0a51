"""``fedmem db prepare``: what ``fedmem up`` and the containers do before the services start."""

from functools import partial

import pytest

from cli import preparing
from fedmem.data.demo import write_demo
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore


def what_is_there(url: str) -> tuple[list[str], list[str]]:
    """The names of the data sets, and of those that jobs train on."""
    engine = connect(url)
    datasets = [row.name for row in CatalogueStore(engine).datasets()]
    jobs = [job.dataset for job in JobStore(engine).page()]
    engine.dispose()
    return datasets, jobs


@pytest.fixture(autouse=True)
def _few_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that is drawn in no time."""
    monkeypatch.setattr(preparing, "write_demo", partial(write_demo, num_users=60, num_items=40))


def test_an_empty_database_gets_the_demo_and_one_job_however_often_it_is_asked(fedmem, tmp_path, empty_url):
    for _ in range(2):
        outcome = fedmem("db", "prepare", "--database-url", empty_url, "--data-dir", tmp_path / "data")
        assert outcome.code == 0, outcome.err
        assert what_is_there(empty_url) == (["demo"], ["demo"])


def test_data_of_ones_own_is_left_alone(fedmem, tmp_path, empty_url, data):
    assert fedmem("data", "import", data, "--database-url", empty_url).code == 0
    outcome = fedmem("db", "prepare", "--database-url", empty_url, "--data-dir", tmp_path / "data")
    assert outcome.code == 0, outcome.err
    assert what_is_there(empty_url) == (["films"], [])


def test_no_job_is_queued_where_none_is_wanted(fedmem, tmp_path, empty_url):
    outcome = fedmem("db", "prepare", "--no-train", "--database-url", empty_url, "--data-dir", tmp_path / "data")
    assert outcome.code == 0, outcome.err
    assert what_is_there(empty_url) == (["demo"], [])
