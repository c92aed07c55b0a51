"""``fedmem models``: what serves, what waits, and changing it, on the command line."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from fedmem.serving import Question, Recommender
from fedmem.storage.jobs import RoundResult
from fedmem.times import written
from tests.end_to_end.products import Product


@pytest.fixture(scope="module")
def product(tmp_path_factory, modules_url) -> Iterator[Product]:
    """A data set with a model in service, and one that waits."""
    product = Product.made(tmp_path_factory.mktemp("models"), modules_url)
    for promotion in ("auto", "manual"):
        product.queue({"federated": {"num_rounds": 1}}, promotion=promotion)
    product.train()
    yield product
    product.engine.dispose()


@pytest.fixture
def run(fedmem, product, monkeypatch):
    """``run("list")`` on this product."""
    monkeypatch.setenv("FEDMEM_DATA_DIR", str(product.data_dir))
    return lambda *words: fedmem("models", *words, "--database-url", product.url)


def test_an_empty_database_says_how_to_begin(fedmem, tmp_path):
    url = ("--database-url", Product.made(tmp_path).url)
    for command, said in (("list", "fedmem jobs start"), ("history", "fedmem models activate")):
        outcome = fedmem("models", command, *url)
        assert (outcome.code, said in outcome.err) == (0, True)
        assert json.loads(fedmem("models", command, "--json", *url).out) == []
    refused = fedmem("models", "rollback", "tiny", *url)
    assert (refused.code, "error:" in refused.err) == (2, True)


@pytest.fixture
def tokyo(monkeypatch):
    """A machine nine hours before UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_times_are_utc_in_one_form_and_say_so_once(fedmem, product, run, tokyo):
    def shown(moment):
        return written(datetime.fromisoformat(moment), datetime.now(UTC))

    def command(*words):
        return fedmem(*words, "--database-url", product.url)

    def told(*words):
        return json.loads(command(*words, "--json").out)[0]

    assert command("schedules", "add", "--dataset", "tiny", "--cron", "0 3 * * *", "--timezone", "Asia/Tokyo").code == 0
    for words, column, name in (
        (("models", "list"), "made", "created_at"),
        (("jobs", "list"), "queued", "created_at"),
        (("models", "history"), "since", "since"),
        (("data", "list"), "imported", "imported_at"),
        (("schedules", "list"), "next", "next_at"),
    ):
        said = command(*words).out
        assert (f"{column} (UTC)" in said, shown(told(*words)[name]) in said) == (True, True), said
        assert not re.search(r"\d{4}-\d\d-\d\d|JST", said)
    assert command("schedules", "remove", "1").code == 0
    log = command("jobs", "logs", 1)
    (first, *_) = product.jobs.logs(1)
    assert log.out.startswith(f"{datetime.fromtimestamp(first.time, UTC):%d %b %H:%M:%S} INFO")
    assert log.err == "times are in UTC\n"


def test_what_serves_what_waits_and_what_is_tried_are_listed(fedmem, product, run):
    found = json.loads(run("list", "--json").out)
    assert [(model["version"], model["state"]) for model in found] == [
        ("job-1-round-1", "in_service"),
        ("job-2-round-1", "ready"),
    ]
    assert found[1]["waits"]
    shown = run("list", "--dataset", "tiny").out
    assert all(words in shown for words in ("job-1-round-1", "in service", "ready"))
    assert f"job-2-round-1: {found[1]['waits']}" in shown.splitlines(), "no word of a sentence is broken"
    test = fedmem("ab", "start", "job-2-round-1", "--share", "0.25", "--database-url", product.url).out.strip()
    said = f"job-2-round-1: A/B test {test}: answers 25% of the users of job-1-round-1"
    assert said in run("list").out.splitlines()
    running = json.loads(run("list", "--json").out)[1]["ab_test"]
    assert (running["id"], running["share"]) == (int(test), 0.25)
    fedmem("ab", "stop", test, "--database-url", product.url)


def leave(product: Product, state: str = "succeeded", **job: object) -> str:
    """Let a job leave a model that no gate has judged."""
    made, _ = product.jobs.create(**{"kind": "training", "dataset": "tiny", "config": {}, "num_rounds": 9, **job})
    _, lease = product.jobs.claim("trainer", 600, 3)
    product.jobs.begin(lease, snapshot_digest="digest", last_interaction_id=None)
    product.jobs.commit_round(lease, RoundResult(1, True, "000001", {}))
    if state == "stopped":
        product.jobs.stop(made.id)
    product.jobs.finish(lease, state, model_round=1, activate=not job and state == "succeeded")
    return f"job-{made.id}-round-1"


def test_why_a_model_is_ready_is_said_of_each(fedmem, tmp_path):
    product = Product.made(tmp_path)
    serving = leave(product)
    experiment, stopped = leave(product, kind="experiment"), leave(product, "stopped")
    night = leave(product, start_from=1, snapshot="newest")
    shown = fedmem("models", "list", "--database-url", product.url).out.splitlines()
    assert f"{experiment}: an experiment's model goes into service by hand alone" in shown
    assert f"{stopped}: its job was stopped" in shown
    assert f"{night}: no round of its job was better than the model that served, which stayed" in shown
    assert not [line for line in shown if line.startswith(serving)]


def test_one_is_put_into_service_and_rolled_back(run):
    outcome = run("activate", "job-2-round-1")
    assert (outcome.code, outcome.out.strip()) == (0, "job-2-round-1"), outcome.err
    assert "tiny is served by job-2-round-1" in outcome.err
    assert run("rollback", "tiny").out.strip() == "job-1-round-1"
    newest, middle, _ = json.loads(run("history", "--json").out)
    assert (newest["version"], newest["until"]) == ("job-1-round-1", None)
    assert newest["reason"] == "rolled back from job-2-round-1"
    assert (middle["version"], middle["reason"]) == ("job-2-round-1", "asked for on the command line")
    assert "rolled back from" in run("history", "--dataset", "tiny").out


def test_one_that_cannot_be_loaded_is_refused_and_what_serves_stays(product, run):
    folder = product.directory(2).path
    shutil.move(folder, folder.with_name("away"))
    refused = run("activate", "job-2-round-1")
    shutil.move(folder.with_name("away"), folder)
    assert (refused.code, "job-2-round-1 cannot be served" in refused.err) == (2, True), refused.err
    assert json.loads(run("list", "--json").out)[0]["version"] == "job-1-round-1"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("activate", "no-such"), "there is no model 'no-such'"),
        (("rollback", "nowhere"), "tiny"),
        (("list", "--dataset", "nowhere"), "'nowhere'"),
        (("history", "--dataset", "nowhere"), "'nowhere'"),
    ],
)
def test_what_is_not_there_is_one_clear_error(run, command, said):
    outcome = run(*command)
    assert (outcome.code, said in outcome.err) == (2, True), outcome.err


def test_a_model_is_taken_elsewhere_without_its_users(product, run, tmp_path):
    told = run("export", "job-1-round-1", "--out", str(tmp_path / "model"))
    assert (told.code, told.out.strip()) == (0, str(tmp_path / "model")), told.err
    model = Recommender.load(tmp_path / "model")
    assert model.dataset.num_users == 0
    assert model.answer(Question(history=["m01"])).items
    again = run("export", "job-1-round-1", "--out", str(tmp_path / "model"))
    assert (again.code, "holds a run already" in again.err) == (2, True)
    unknown = run("export", "job-9-round-1", "--out", str(tmp_path / "x"))
    assert (unknown.code, "job-9-round-1" in unknown.err) == (2, True)
