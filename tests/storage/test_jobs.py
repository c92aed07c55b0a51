"""What users ask of jobs."""

import threading

import pytest

from fedmem.errors import ConflictError, UnknownDatasetError, UnknownJobError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns
from fedmem.storage.jobs import JobStore
from tests.storage.builders import LEASE, add_dataset, claim, everything, queue, result
from tests.waiting import PATIENCE


def situation(job):
    return job.state, job.desired_state


def test_a_new_job(store, clock):
    config = {"seed": 7, "federated": {"num_rounds": 5}, "name": "Ärger"}
    job, new = store.create(kind="experiment", dataset="demo", config=config, num_rounds=5)
    assert new
    assert job == store.get(job.id)
    assert (job.kind, job.dataset, job.config, job.num_rounds) == ("experiment", "demo", config, 5)
    assert situation(job) == ("queued", "running")
    assert (job.created_at, job.started_at, job.finished_at) == (clock.now, None, None)
    assert (job.round, job.best_round, job.token, job.attempts, job.worker) == (0, None, 0, 0, None)
    assert job.model_version is None


def test_a_job_begins_with_what_the_data_sets_import_has_said_of_repeats(store, engine):
    request = {"kind": "training", "dataset": "demo", "config": {"data": {"repeats": "hide", "x": 1}}, "num_rounds": 3}
    assert store.create(**request, repeats_of_dataset=True)[0].config == request["config"]
    CatalogueStore(engine).write("demo", "/data", InteractionColumns(["u"], ["a"], [1.0]), [], repeats="offer")
    job, _ = store.create(**request, idempotency_key="k", repeats_of_dataset=True)
    assert job.config == {"data": {"repeats": "offer", "x": 1}}
    assert store.create(**request, idempotency_key="said")[0].config == request["config"]
    CatalogueStore(engine).write("demo", "/data", InteractionColumns(["u"], ["a"], [1.0]), [], repeats="hide")
    assert store.create(**request, idempotency_key="k", repeats_of_dataset=True) == (job, False), "a retry"


def test_an_unknown_data_set_names_those_there_are(store, engine):
    add_dataset(engine, "ml-1m")
    with pytest.raises(UnknownDatasetError, match="no data set 'dmeo'; there are: demo, ml-1m"):
        queue(store, dataset="dmeo")


def test_without_any_data_set(engine):
    with pytest.raises(UnknownDatasetError, match=r"there are none yet\. fedmem data import"):
        queue(JobStore(engine))


@pytest.mark.parametrize("number", [0, -1, 17, 2**63, 10**30])
def test_an_unknown_job(store, number):
    with pytest.raises(UnknownJobError, match=f"there is no job {number}"):
        store.get(number)
    with pytest.raises(UnknownJobError):
        store.stop(number)
    with pytest.raises(UnknownJobError):
        queue(store, start_from=number)


def test_a_retry_queues_nothing_twice(store):
    request = {"kind": "training", "dataset": "demo", "config": {"a": 1, "b": 2}, "num_rounds": 3}
    first, new = store.create(**request, idempotency_key="k")
    again, new_again = store.create(**request | {"config": {"b": 2, "a": 1}}, idempotency_key="k")
    assert (new, new_again) == (True, False)
    assert again == first
    for change in ({"num_rounds": 4}, {"config": {"a": 1}}, {"kind": "experiment"}):
        with pytest.raises(ConflictError, match=f"'k' came before with another request .job {first.id}"):
            store.create(**request | change, idempotency_key="k")
    assert store.create(**request, idempotency_key="other")[1]
    assert store.create(**request)[1]


def test_retries_at_the_same_moment(store):
    numbers, barrier = [], threading.Barrier(4, timeout=PATIENCE)

    def retry():
        barrier.wait()
        numbers.append(queue(store, idempotency_key="k"))

    threads = [threading.Thread(target=retry) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 4
    assert len(set(numbers)) == len(store.page()) == 1


def test_nan_in_a_configuration_is_refused(store, engine):
    before = everything(engine)
    with pytest.raises(ValueError, match="JSON compliant"):
        queue(store, config={"rate": float("nan")})
    assert everything(engine) == before


def test_pages_are_disjoint_and_newest_first(store, engine):
    add_dataset(engine, "other")
    numbers = [queue(store, dataset="other" if i % 3 == 0 else "demo") for i in range(7)]
    first = store.page(limit=3)
    second = store.page(limit=10, before=first[-1].id)
    assert [job.id for job in first + second] == numbers[::-1]
    store.pause(numbers[0])
    assert [job.id for job in store.page(state="paused")] == [numbers[0]]
    assert [job.id for job in store.page(dataset="other")] == [numbers[6], numbers[3], numbers[0]]
    assert [job.id for job in store.page(dataset="other", state="queued", before=numbers[6])] == [numbers[3]]
    assert store.page(kind="experiment") == []


def test_a_queued_job_stops_and_pauses_at_once(store, clock):
    first, second = queue(store), queue(store)
    clock.advance(5)
    stopped = store.stop(first)
    assert (*situation(stopped), stopped.finished_at) == ("stopped", "stopped", clock.now)
    assert situation(store.stop(first)) == ("stopped", "stopped")
    assert situation(store.pause(second)) == ("paused", "paused")
    assert situation(store.pause(second)) == ("paused", "paused")
    assert store.claim("t1", LEASE, 3) is None
    assert situation(store.resume(second)) == ("queued", "running")
    assert claim(store).job_id == second


def test_a_running_job_is_asked(store):
    job_id = queue(store)
    claim(store)
    assert situation(store.pause(job_id)) == ("running", "paused")
    assert situation(store.resume(job_id)) == ("running", "running")
    assert situation(store.stop(job_id)) == ("running", "stopped")
    for wish in (store.pause, store.resume):
        with pytest.raises(ConflictError, match="is stopping"):
            wish(job_id)


def test_a_paused_job_stops_at_once_and_leaves_its_best_model(store):
    job_id = queue(store)
    lease = claim(store)
    for number in range(4):
        store.commit_round(lease, result(number, is_best=number == 2))
    store.pause(job_id)
    store.release(lease)
    job = store.stop(job_id)
    assert (job.state, job.model_version) == ("stopped", f"job-{job_id}-round-2")


def test_what_never_trained_leaves_no_model(store):
    job_id = queue(store)
    lease = claim(store)
    store.commit_round(lease, result(0, is_best=True))
    store.pause(job_id)
    store.release(lease)
    assert store.stop(job_id).model_version is None


def test_a_job_continues_another_that_has_ended(store, engine):
    add_dataset(engine, "other")
    first = queue(store)
    with pytest.raises(ConflictError, match=f"job {first} is queued and cannot be continued"):
        queue(store, start_from=first)
    lease = claim(store)
    store.commit_round(lease, result(0))
    store.commit_round(lease, result(1))
    with pytest.raises(ConflictError, match="is running and cannot be continued"):
        queue(store, start_from=first)
    store.stop(first)
    store.finish(lease, "stopped")
    with pytest.raises(ConflictError, match="trained on data set 'demo' and cannot be continued on 'other'"):
        queue(store, start_from=first, dataset="other")
    newest = store.get(queue(store, start_from=first))
    assert (newest.start_from, newest.snapshot, newest.goes_on_with_newest) == (first, "newest", True)
    same = store.get(queue(store, start_from=first, snapshot="same"))
    assert (same.start_from, same.snapshot, same.goes_on_with_newest) == (first, "same", False)
    assert store.get(queue(store)).snapshot is None


def test_rounds_that_were_trained_count(store):
    first = queue(store)
    lease = claim(store)
    for number in range(4):
        store.commit_round(lease, result(number, is_best=number == 2))
    store.finish(lease, "succeeded", model_round=2)
    with pytest.raises(ConflictError, match=f"best model of job {first} is of round 2; .*num_rounds, which is 2"):
        queue(store, start_from=first, num_rounds=2)
    with pytest.raises(ConflictError, match=f"job {first} has trained 3 rounds already; .*num_rounds, which is 3"):
        queue(store, start_from=first, num_rounds=3, snapshot="same")
    assert queue(store, start_from=first, num_rounds=3)


def test_a_job_without_a_round_cannot_be_continued(store):
    first = queue(store)
    store.stop(first)
    with pytest.raises(ConflictError, match="has finished no round"):
        queue(store, start_from=first)


def test_logs(store, clock):
    job_id = queue(store)
    clock.advance(1.5)
    store.log(job_id, "WARNING", "a vocabulary of 3 words: ß")
    store.stop(job_id)
    lines = store.logs(job_id)
    assert [line.level for line in lines] == ["WARNING", "INFO"]
    assert (lines[0].time, lines[0].message) == (clock.now, "a vocabulary of 3 words: ß")
    assert lines[1].message == "asked to stop; stopped after round 0"
    assert store.logs(job_id, after_id=lines[0].id) == lines[1:]
    assert store.logs(job_id, limit=1) == lines[:1]
    assert store.logs(job_id, limit=1, before_id=lines[-1].id + 1) == lines[-1:]
    assert store.logs(job_id, before_id=lines[-1].id) == lines[:-1]
    assert store.logs(job_id + 1) == []


def test_a_trainer_that_trains_for_hours_is_seen_by_its_heartbeat(store, clock):
    queue(store)
    store.seen("t1", None)
    store.seen("t2", None)
    _, lease = store.claim("t1", 30, 5)
    clock.advance(25)
    store.renew(lease, 30, 1, 4)
    assert [(row.worker, row.seen_at) for row in store.trainers()] == [("t1", 1025.0), ("t2", 1000.0)]


def test_trainers_come_and_go(store, clock):
    job_id = queue(store)
    store.seen("t1", None)
    clock.advance(5)
    store.seen("t1", job_id)
    store.seen("t2", None)
    seen = [(row.worker, row.started_at, row.seen_at, row.job_id) for row in store.trainers()]
    assert seen == [("t1", 1000.0, 1005.0, job_id), ("t2", 1005.0, 1005.0, None)]
    store.leave("t1")
    assert [row.worker for row in store.trainers()] == ["t2"]
    clock.advance(25 * 3600)
    store.seen("t3", None)
    assert [row.worker for row in store.trainers()] == ["t3"]
