"""The warning that requests will have to name a data set: of an import, a job and a schedule alike."""

from collections.abc import Iterator

import pytest

from fedmem.storage.jobs import RoundResult
from tests.cli.conftest import write_data
from tests.end_to_end.products import Product

WARNING = (
    "once books has a model in service beside tiny, requests that name no data set are refused by 409: set "
    "FEDMEM_DATASET to the one that is meant then, or have callers name theirs by ?dataset="
)


@pytest.fixture(scope="module")
def product(tmp_path_factory, modules_url) -> Iterator[Product]:
    """Two data sets, of which tiny alone has a model in service."""
    product = Product.made(tmp_path_factory.mktemp("unnamed"), modules_url)
    product.write("books", "b", "Book")
    product.jobs.create(kind="training", dataset="tiny", config={}, num_rounds=1)
    _, lease = product.jobs.claim("trainer", 600, 3)
    product.jobs.begin(lease, snapshot_digest="digest", last_interaction_id=None)
    product.jobs.commit_round(lease, RoundResult(1, True, "000001", {}))
    product.jobs.finish(lease, "succeeded", model_round=1, activate=True)
    yield product
    product.engine.dispose()


@pytest.fixture
def said(fedmem, product):
    """``said(*command)``: what a command that succeeds writes to stderr."""

    def call(*command: object) -> str:
        outcome = fedmem(*command, "--database-url", product.url)
        assert outcome.code == 0, outcome.err
        return outcome.err

    return call


@pytest.mark.parametrize(
    ("command", "again"),
    [
        (("jobs", "start"), ()),
        (("schedules", "add", "--cron", "0 3 * * *"), ("--cron", "0 4 * * *")),  # no two at the same times
    ],
    ids=["job", "schedule"],
)
def test_a_second_data_set_is_warned_of_unless_a_default_is_set(said, monkeypatch, command, again):
    assert WARNING in said(*command, "--dataset", "books").splitlines()
    assert "FEDMEM_DATASET" not in said(*command, "--dataset", "tiny")
    monkeypatch.setenv("FEDMEM_DATASET", "tiny")
    assert "FEDMEM_DATASET" not in said(*command, *again, "--dataset", "books")


def test_an_experiment_puts_nothing_into_service_and_warns_of_nothing(said):
    assert "FEDMEM_DATASET" not in said("jobs", "start", "--experiment", "--dataset", "books")


def test_an_import_of_a_second_data_set_is_warned_of(said, tmp_path):
    folder = write_data(tmp_path / "films")
    assert WARNING in said("data", "import", folder, "--name", "books").splitlines()
    assert "FEDMEM_DATASET" not in said("data", "import", folder, "--name", "tiny")


def test_the_first_data_set_of_all_is_not(fedmem, tmp_path):
    product = Product.made(tmp_path)
    started = fedmem("jobs", "start", "--dataset", "tiny", "--database-url", product.url)
    product.engine.dispose()
    assert (started.code, "FEDMEM_DATASET" in started.err) == (0, False)
