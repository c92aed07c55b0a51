"""``fedmem ab``: A/B tests on the command line."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from fedmem.times import written
from tests.end_to_end.products import Product


@pytest.fixture(scope="module")
def product(tmp_path_factory, modules_url) -> Iterator[Product]:
    """A data set with a model in service, and one that waits."""
    product = Product.made(tmp_path_factory.mktemp("ab"), modules_url)
    for promotion in ("auto", "manual"):
        product.queue({"federated": {"num_rounds": 1}}, promotion=promotion)
    product.train()
    yield product
    product.engine.dispose()


def test_an_empty_database_says_how_to_begin(fedmem, tmp_path):
    outcome = fedmem("ab", "list", "--database-url", Product.made(tmp_path).url)
    assert (outcome.code, "fedmem ab start" in outcome.err) == (0, True)


def test_a_test_is_started_listed_and_stopped(fedmem, product):
    url = ("--database-url", product.url)
    started = fedmem("ab", "start", "job-2-round-1", "--share", "0.25", *url)
    assert (started.code, started.out.strip()) == (0, "1"), started.err
    assert "job-2-round-1 answers 25% of the users of tiny, job-1-round-1 the others" in started.err
    assert "set FEDMEM_IMPRESSIONS" in started.err
    (shown,) = json.loads(fedmem("ab", "list", "--json", *url).out)
    since = written(datetime.fromisoformat(shown["started_at"]), datetime.now(UTC))
    listed = fedmem("ab", "list", *url).out
    assert "set FEDMEM_IMPRESSIONS" in listed
    assert all(words in listed for words in ("started (UTC)", "ended (UTC)", since, "runs")), listed
    assert (shown["share"], shown["ended_at"], shown["hits"]) == (0.25, None, None)
    again = fedmem("ab", "start", "job-2-round-1", *url)
    assert (again.code, "stop it first" in again.err) == (2, True)
    assert "answers all users" in fedmem("ab", "stop", "1", *url).err
    *_, said = fedmem("ab", "list", *url).out.splitlines()
    assert said.startswith(
        "test 1: too few users are judged yet: 0 of the control (0 more wait) and 0 of the treatment"
    )
    assert said.endswith("each arm needs 100; ended: stopped on the command line"), "no remedy is left, no word broken"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("start", "job-2-round-1", "--share", "1.5"), "--share 1.5 is no share"),
        (("start", "no-such"), "there is no model 'no-such'"),
        (("start", "job-1-round-1"), "serves all users of 'tiny'"),
        (("stop", "9"), "there is no A/B test 9"),
    ],
)
def test_what_cannot_be_is_one_clear_error(fedmem, product, command, said):
    outcome = fedmem("ab", *command, "--database-url", product.url)
    assert (outcome.code, said in outcome.err) == (2, True), outcome.err
