"""What trainers write: whole rounds in order, the end with all that belongs to it, and no number that is none."""

import itertools
import math
import time

import pytest
from sqlalchemy import event

from fedmem.errors import ConflictError, StorageError
from fedmem.storage.jobs import JobStore
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore
from tests.clock import Clock
from tests.storage.builders import ATTEMPTS, LEASE, add_dataset, claim, everything, prototypes, queue, result


@pytest.fixture
def lease(store):
    queue(store)
    return claim(store)


def test_a_round_is_there_with_all_it_has(store, engine, lease, clock):
    store.renew(lease, LEASE, 5, 9)
    store.commit_round(lease, result(0))
    clock.advance(7)
    store.commit_round(lease, result(1, is_best=True, prototypes=prototypes(1)))
    rows = MetricStore(engine).rounds(lease.job_id, after_round=-1)
    assert [(row.round, row.is_best, row.checkpoint, row.finished_at) for row in rows] == [
        (0, False, "000000", 1000.0),
        (1, True, "000001", 1007.0),
    ]
    assert rows[1].metrics == {"train": {"recommendation_loss": 0.25}, "validation": {"HR@10": 0.1}}
    job = store.get(lease.job_id)
    assert (job.round, job.best_round, job.clients_done, job.clients_selected) == (1, 1, 0, 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_is_refused_at_the_door(store, engine, lease, value):
    store.commit_round(lease, result(0))
    before = everything(engine)
    metrics = {"train": {"recommendation_loss": 0.5}, "validation": {"HR@10": value}}
    with pytest.raises(ValueError, match=r"metric HR@10 of split validation is -?(nan|inf)"):
        store.commit_round(lease, result(1, metrics=metrics))
    with pytest.raises(ValueError, match=r"metric MRR of split test is -?(nan|inf)"):
        store.finish(lease, "succeeded", test={"MRR": value}, test_round=0)
    assert everything(engine) == before


def test_nan_in_the_prototypes_leaves_no_half_round(store, engine, lease):
    before = everything(engine)
    broken = prototypes(1)
    broken.description[0]["mass"] = math.nan
    with pytest.raises(ValueError, match="JSON compliant"):
        store.commit_round(lease, result(0, prototypes=broken))
    assert everything(engine) == before


@pytest.mark.parametrize(
    ("number", "words"), [(1, "is there already"), (2, "is there already"), (4, "leaves a gap: the last is 2")]
)
def test_rounds_come_one_after_the_other(store, engine, lease, number, words):
    for earlier in range(3):
        store.commit_round(lease, result(earlier))
    before = everything(engine)
    with pytest.raises(ConflictError, match=words):
        store.commit_round(lease, result(number, is_best=True))
    assert everything(engine) == before


def test_a_job_cannot_begin_in_the_middle(store, lease):
    with pytest.raises(ConflictError, match="leaves a gap"):
        store.commit_round(lease, result(2))


def test_a_job_that_continues_another_begins_where_that_one_ended(store, lease):
    for number in range(3):
        store.commit_round(lease, result(number))
    store.finish(lease, "succeeded", model_round=2)
    queue(store, start_from=lease.job_id, snapshot="same")
    second = claim(store)
    for _ in range(2):  # done again after a death, it changes nothing
        store.inherit(second, lease.job_id)
    with pytest.raises(ConflictError, match="is there already"):
        store.commit_round(second, result(2))
    store.commit_round(second, result(3))
    with pytest.raises(ConflictError, match="leaves a gap"):
        store.commit_round(second, result(5))
    assert store.get(second.job_id).round == 3


def test_a_job_on_newer_data_begins_with_the_round_of_the_model_that_goes_on(store, lease):
    for number in range(4):
        store.commit_round(lease, result(number, is_best=number == 2))
    store.finish(lease, "succeeded", model_round=2)
    queue(store, start_from=lease.job_id)
    second = claim(store)
    with pytest.raises(ConflictError, match="leaves a gap"):
        store.commit_round(second, result(2))
    store.commit_round(second, result(0))
    store.commit_round(second, result(2, is_best=True))
    with pytest.raises(ConflictError, match="leaves a gap"):
        store.commit_round(second, result(4))
    store.commit_round(second, result(3))
    assert (store.get(second.job_id).round, store.get(second.job_id).best_round) == (3, 2)


def test_what_is_inherited(store, engine, lease):
    """Rounds, metrics and prototypes of the parent; of the checkpoints the last and the best; not its test result."""
    store.begin(lease, snapshot_digest="abc", last_interaction_id=7)
    for number in range(5):
        store.commit_round(lease, result(number, is_best=number == 2, prototypes=prototypes(number)))
    store.finish(lease, "succeeded", test={"HR@10": 0.3}, test_round=2, model_round=2)
    child = queue(store, start_from=lease.job_id, snapshot="same")
    store.inherit(claim(store), lease.job_id)
    metrics = MetricStore(engine)
    assert [row.checkpoint for row in metrics.rounds(child, -1)] == [None, None, "000002", None, "000004"]
    assert [row.metrics for row in metrics.rounds(child, -1)] == [result(number).metrics for number in range(5)]
    assert metrics.prototype_rounds(child) == [0, 1, 2, 3, 4]
    job = store.get(child)
    assert (job.snapshot_digest, job.last_interaction_id, job.round, job.best_round) == ("abc", 7, 4, 2)
    assert job.model_version is None


def test_the_snapshot_is_named_once(store, lease, clock):
    store.begin(lease, snapshot_digest="first", last_interaction_id=10)
    store.begin(lease, snapshot_digest="second", last_interaction_id=11)
    store.commit_round(lease, result(0))
    clock.advance(LEASE + 1)
    again = claim(store, "t2")
    store.begin(again, snapshot_digest="second", last_interaction_id=11)
    store.commit_round(again, result(1))
    with pytest.raises(ConflictError, match="has trained on snapshot second and cannot go on with third"):
        store.begin(again, snapshot_digest="third", last_interaction_id=12)
    job = store.get(lease.job_id)
    assert (job.snapshot_digest, job.last_interaction_id) == ("second", 11)


def test_success_leaves_test_result_and_model_in_service(store, engine, lease, clock):
    for number in range(3):
        store.commit_round(lease, result(number, is_best=number == 1))
    clock.advance(3)
    store.finish(lease, "succeeded", test={"HR@10": 0.3}, test_round=1, model_round=1, activate=True)
    job = store.get(lease.job_id)
    assert (job.state, job.finished_at, job.worker, job.lease_expires_at) == ("succeeded", clock.now, None, None)
    assert job.model_version == f"job-{lease.job_id}-round-1"
    active = ModelStore(engine).active("demo")
    assert active is not None
    assert active.version == job.model_version
    assert active.metrics == {"validation": {"HR@10": 0.1}, "test": {"HR@10": 0.3}}


def test_failure_keeps_the_traceback_and_a_sentence(store, engine, lease):
    store.finish(lease, "failed", message="the loss is no number", traceback="Traceback ...")
    job = store.get(lease.job_id)
    assert (job.state, job.message, job.traceback) == ("failed", "the loss is no number", "Traceback ...")
    assert job.model_version is None
    assert store.logs(job.id)[-1].message == "failed after round 0: the loss is no number"
    assert ModelStore(engine).all_active() == []


def test_an_experiment_never_activates(store):
    queue(store, kind="experiment")
    lease = claim(store)
    store.commit_round(lease, result(0))
    store.commit_round(lease, result(1))
    with pytest.raises(AssertionError, match="an experiment never"):
        store.finish(lease, "succeeded", model_round=1, activate=True)
    assert store.get(lease.job_id).state == "running"


def test_no_job_ends_as_stopped_unasked(store, lease):
    with pytest.raises(ConflictError, match="was not asked to stop; it is wanted running"):
        store.finish(lease, "stopped")
    store.stop(lease.job_id)
    store.finish(lease, "stopped")
    assert store.get(lease.job_id).state == "stopped"


def test_a_model_needs_a_checkpoint(store, engine, lease):
    for number in range(2):
        store.commit_round(lease, result(number))
    assert store.forget_checkpoints(lease, [1]) == [1]
    before = everything(engine)
    for number in (1, 5):
        with pytest.raises(ConflictError, match=f"round {number} of job .* has no checkpoint"):
            store.finish(lease, "succeeded", model_round=number)
    assert everything(engine) == before


def test_checkpoints_are_forgotten_but_for_those_of_models(store, engine, lease):
    for number in range(5):
        store.commit_round(lease, result(number))
    assert store.forget_checkpoints(lease, [1, 3, 17]) == [1, 3]
    assert [row.checkpoint for row in MetricStore(engine).rounds(lease.job_id)] == [None, "000002", None, "000004"]
    from fedmem.storage.engine import writing
    from fedmem.storage.models import add_model

    with writing(engine) as connection:
        add_model(connection, lease.job_id, 2, 0.0)
    assert store.forget_checkpoints(lease, [0, 2]) == [0]
    assert store.forget_checkpoints(lease, []) == []


def commit_without_end(store, lease):
    metrics = {"train": {f"loss_{i:04d}": 1.0 for i in range(300)}}
    for number in itertools.count(1):
        store.commit_round(lease, result(number, metrics=metrics))


def test_a_full_disk_leaves_the_earlier_rounds(sqlite_engine):
    add_dataset(sqlite_engine)
    store = JobStore(sqlite_engine, Clock())
    queue(store)
    lease = claim(store)
    store.commit_round(lease, result(0))
    event.listen(sqlite_engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 80"))
    sqlite_engine.dispose()
    with pytest.raises(StorageError, match="the disk is full"):
        commit_without_end(store, lease)
    rows = MetricStore(sqlite_engine).rounds(lease.job_id)
    assert 0 < len(rows) == store.get(lease.job_id).round
    assert [(row.round, len(row.metrics["train"])) for row in rows] == [(n + 1, 300) for n in range(len(rows))]


def test_a_round_costs_a_few_milliseconds(sqlite_engine):
    add_dataset(sqlite_engine)
    store = JobStore(sqlite_engine)
    queue(store)
    lease = store.claim("t1", LEASE, ATTEMPTS)[1]
    metrics = {"train": {f"metric_{i:02d}": i / 7 for i in range(30)}, "system": {f"s_{i}": 1.5 for i in range(15)}}
    seconds = []
    for number in range(60):
        started = time.thread_time()
        store.commit_round(lease, result(number, metrics=metrics))
        seconds.append(time.thread_time() - started)
    # The median of the processor's time, because disk and cores are not ours alone.
    assert sorted(seconds)[30] < 0.005
