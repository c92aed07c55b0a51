"""Metrics and prototypes as they are read."""

import pytest

from fedmem.storage.metrics import MetricStore
from tests.storage.builders import claim, prototypes, queue, result


@pytest.fixture
def job_id(store):
    for _ in range(2):
        queue(store)
        lease = claim(store)
        for number in range(6):
            has = {"prototypes": prototypes(number)} if number in (2, 4) else {}
            store.commit_round(lease, result(number, **has))
    return lease.job_id


def test_rounds_after_one(engine, job_id):
    metrics = MetricStore(engine)
    assert [row.round for row in metrics.rounds(job_id)] == [1, 2, 3, 4, 5]
    assert [row.round for row in metrics.rounds(job_id, after_round=-1)] == [0, 1, 2, 3, 4, 5]
    assert [row.round for row in metrics.rounds(job_id, after_round=2, limit=2)] == [3, 4]
    assert metrics.rounds(job_id, after_round=5) == []
    assert metrics.rounds(job_id + 1) == []
    assert metrics.rounds(job_id, after_round=2, limit=1)[0].metrics == result(3).metrics


def test_some_splits(engine, job_id):
    rows = MetricStore(engine).rounds(job_id, splits=["train"])
    assert [set(row.metrics) for row in rows] == [{"train"}] * 5
    assert [row.metrics for row in MetricStore(engine).rounds(job_id, splits=["test"])] == [{}] * 5


def test_values_come_back_to_the_last_bit(store, engine):
    queue(store)
    lease = claim(store)
    values = {"third": 1 / 3, "tiny": 5e-324, "huge": 1.7976931348623157e308, "whole": 3}
    store.commit_round(lease, result(0, metrics={"system": values}))
    assert MetricStore(engine).rounds(lease.job_id, after_round=-1)[0].metrics == {"system": values}


def test_prototypes(engine, job_id):
    metrics = MetricStore(engine)
    assert metrics.prototype_rounds(job_id) == [2, 4]
    last, earlier = metrics.prototypes(job_id), metrics.prototypes(job_id, 2)
    assert (last.round, last.arrays, last.description) == (4, b"\x04", prototypes(4).description)
    assert (earlier.round, earlier.arrays) == (2, b"\x02")
    assert metrics.prototypes(job_id, 3) is None
    assert metrics.prototypes(job_id + 1) is None
