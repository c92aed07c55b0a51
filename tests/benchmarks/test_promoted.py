"""The load under changing models: its judge finds what is wrong, and a few hundred requests are right."""

import json

import httpx
import pytest

from benchmarks.load_generator import Generator
from benchmarks.promoted import Changes, Judge, record_of, said_beforehand, under_changes
from tests.dashboard.sites import backend_on
from tests.end_to_end.products import Product
from tests.waiting import PATIENCE

EXPECTED = {("d", "v1", "u"): ("a", "b"), ("d", "v2", "u"): ("b", "a")}


def answer(items="ab", version="v1", dataset="d", arm=None, test=None):
    told = {"items": [{"item_id": item} for item in items], "model_version": version, "dataset": dataset}
    return json.dumps(told | {"arm": arm, "ab_test": test}).encode()


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (answer(), {}),
        (answer("ba", "v2"), {}),
        (answer("ab", "v2"), {"not of the version it names": 1}),
        (answer(version="v3"), {"not of the version it names": 1}),
        (answer(dataset="other"), {"of the other data set": 1}),
    ],
)
def test_what_is_wrong_is_found(body, wrong):
    judge = Judge(EXPECTED)
    judge.judge("d", "u", body)
    assert judge.wrong == wrong


def test_a_user_who_changes_the_arm_is_found():
    judge = Judge(EXPECTED)
    for arm, test in (("control", 1), ("treatment", 2), ("control", 1), ("treatment", 1)):
        judge.judge("d", "u", answer(arm=arm, test=test))
    assert judge.wrong == {"of the other arm": 1}


@pytest.fixture
def product(tmp_path) -> Product:
    """Two data sets with two models each."""
    made = Product.made(tmp_path)
    made.write("books", "b", "Book")
    for seed in range(2):
        for dataset in ("tiny", "books"):
            made.queue({"federated": {"num_rounds": 1}, "seed": seed}, dataset=dataset, promotion="auto")
    made.train()
    return made


def test_no_answer_is_wrong_while_models_change(product, monkeypatch):
    monkeypatch.setattr("benchmarks.promoted.TESTED", "tiny")
    monkeypatch.setattr("benchmarks.promoted.REST", 0.02)
    versions = {"tiny": ["job-1-round-1", "job-3-round-1"], "books": ["job-2-round-1", "job-4-round-1"]}
    with (
        backend_on(product.url, product.data_dir, impressions=0.5, dataset="tiny") as api,
        httpx.Client(base_url=api, timeout=PATIENCE) as client,
    ):
        users = {name: [f"u{number:02d}" for number in range(12)] for name in versions}
        judge = Judge(said_beforehand(client, versions, users))
        changes = Changes(client, versions)
        load = under_changes(Generator(int(api.rpartition(":")[2]), iter(()), 100.0), judge, changes, users, 300)
    record = record_of(load, judge, changes)
    assert (record["failed"], record["wrong"]) == (0, {}), record
    assert record["requests"] >= 300
    assert changes.done.keys() == {"promotion", "A/B test"}, changes.done
