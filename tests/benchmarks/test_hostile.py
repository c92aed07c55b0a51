"""The hostile load's own parts: its jobs are ones that a poster may post, its record tells what went wrong."""

from collections import Counter
from pathlib import Path

import httpx
import pytest

from benchmarks.attack_jobs import POISON, JobAttack, config_of
from benchmarks.attack_uploads import UploadAttack
from benchmarks.hostile import record_of
from benchmarks.load_generator import Load
from benchmarks.product import Product
from fedmem.config_reader import validate_config
from fedmem.footprint import DataSize, Footprint


@pytest.mark.parametrize("kind", POISON)
def test_every_poisoned_job_is_one_that_is_read(kind):
    config = validate_config(config_of(kind), kind)
    large = Footprint.of(config, DataSize(200, 200, 6000)).memory > 2**36
    assert large == (kind == "too large")


def test_the_record_counts_what_failed_apart():
    attack = JobAttack(Product(Path(), 1), ("demo",), done=Counter({"batch: 429": 2}))
    record = record_of(1, Load([0.1, 0.2], [0.0], Counter({"503": 1})), attack, False)
    assert (record["requests"], record["errors"], record["errors_by_reason"]) == (3, 1, {"503": 1})
    assert record["attacks"] == {"batch: 429": 2}
    assert 100 < record["p50_ms"] < record["p99_ms"] < 201


def test_a_job_that_was_posted_is_waited_for_though_the_attacks_end_meanwhile(monkeypatch):
    states = iter(["queued", "running", "succeeded"])
    attack = JobAttack(Product(Path(), 1), ("demo",))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"state": next(states), "round": 0})
        if attack.done:  # one job was refused, this is the whole one after it
            attack.ending.set()
            return httpx.Response(201, json={"id": 2})
        return httpx.Response(422)

    client = httpx.Client(base_url="http://product", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(Product, "client", property(lambda product: client))
    attack.jobs()
    assert attack.done == {"job too large: 422": 1, "whole job: 201": 1, "whole job: succeeded": 1}
    assert attack.longest.keys() == {"whole job"}


def test_an_upload_is_imported_followed_and_removed():
    asked, states = [], iter(["writing", "imported"])

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        return httpx.Response(
            201 if request.url.path == "/uploads" else 200,
            json={"upload_id": "1", "state": next(states)} if request.method == "GET" else {"upload_id": "1"},
        )

    attack = UploadAttack(Product(Path(), 1), ("demo",))
    attack.ending.wait = lambda seconds: False
    attack._one(httpx.Client(base_url="http://product", transport=httpx.MockTransport(answer)), "rows", b"a", 9.0)
    look = "GET /uploads/1"
    assert asked == ["POST /uploads", "POST /uploads/1/import", look, look, "DELETE /uploads/1"]
