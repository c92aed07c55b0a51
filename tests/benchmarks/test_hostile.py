"""The hostile load's own parts: its jobs are ones that a poster may post, its record tells what went wrong."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.hostile import POISON, Attack, config_of, record_of
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
    attack = Attack(Product(Path(), 1), done=Counter({"batch: 429": 2}))
    record = record_of(1, Load([0.1, 0.2], [0.0], Counter({"503": 1})), attack, False)
    assert (record["requests"], record["errors"], record["errors_by_reason"]) == (3, 1, {"503": 1})
    assert record["attacks"] == {"batch: 429": 2}
    assert 100 < record["p50_ms"] < record["p99_ms"] < 201
