"""Claims, leases and fencing: a job is trained by one trainer at a time, and one that lost it writes nothing."""

import subprocess
import sys
import threading
import time

import pytest

from fedmem.errors import LeaseLostError
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore
from tests.clock import Clock
from tests.forks import Forked
from tests.storage.builders import ATTEMPTS, LEASE, claim, everything, queue, result
from tests.waiting import PATIENCE


def test_the_oldest_job_is_claimed_first(store, clock):
    first, second = queue(store), queue(store)
    job, lease = store.claim("t1", LEASE, ATTEMPTS)
    assert (job.id, job.state, job.worker, job.attempts) == (first, "running", "t1", 1)
    assert (job.started_at, job.lease_expires_at) == (clock.now, clock.now + LEASE)
    assert (lease.job_id, lease.token, lease.worker) == (first, job.token, "t1")
    assert claim(store, "t2").job_id == second
    assert store.claim("t3", LEASE, ATTEMPTS) is None


def test_a_heartbeat_keeps_the_job_and_brings_the_wish(store, clock):
    job_id = queue(store)
    lease = claim(store)
    for done in range(3):
        clock.advance(LEASE - 1)
        assert store.renew(lease, LEASE, done, 9) == "running"
        assert store.claim("t2", LEASE, ATTEMPTS) is None
    job = store.get(job_id)
    assert (job.clients_done, job.clients_selected, job.lease_expires_at) == (2, 9, clock.now + LEASE)
    store.pause(job_id)
    assert store.renew(lease, LEASE, 3, 9) == "paused"
    store.stop(job_id)
    assert store.renew(lease, LEASE, 3, 9) == "stopped"


def test_a_dead_trainers_job_is_taken_over(store, clock):
    job_id = queue(store)
    first = claim(store)
    store.renew(first, LEASE, 4, 9)
    clock.advance(LEASE + 1)
    second = claim(store, "t2")
    assert second.job_id == job_id
    assert second.token > first.token
    job = store.get(job_id)
    assert (job.worker, job.attempts, job.started_at, job.clients_done) == ("t2", 2, 1000.0, 0)
    assert [line.level for line in store.logs(job_id)] == ["INFO", "WARNING", "INFO"]


def test_a_dead_trainers_job_is_taken_over_though_the_clock_was_set_back(engine, store, clock):
    """Whoever waits sees by a clock of its own that the lease is not renewed."""
    dead, living = queue(store), queue(store)
    claim(store)
    lease = claim(store)
    assert lease.job_id == living
    clock.advance(-3600)
    waited = Clock(5.0)
    other = JobStore(engine, clock, waited)
    for _ in range(4):
        assert other.claim("t2", LEASE, ATTEMPTS) is None
        waited.advance(LEASE / 3)
        clock.advance(LEASE / 3)
        store.renew(lease, LEASE, 0, 1)
    job, _ = other.claim("t2", LEASE, ATTEMPTS)
    assert job.id == dead
    assert other.claim("t3", LEASE, ATTEMPTS) is None
    clock.advance(2)
    assert other.claim("t3", LEASE, ATTEMPTS) is None


def test_leases_on_postgresql_end_by_the_databases_clock(engine, store):
    found = JobStore(engine)
    queue(store)
    job, _ = found.claim("t1", LEASE, ATTEMPTS)
    assert job.lease_expires_at == pytest.approx(time.time() + LEASE, abs=60)


def test_a_late_trainer_that_was_not_replaced_goes_on(store, clock):
    queue(store)
    lease = claim(store)
    clock.advance(10 * LEASE)
    assert store.renew(lease, LEASE, 0, 1) == "running"
    assert store.claim("t2", LEASE, ATTEMPTS) is None


def test_a_job_that_kills_its_trainers_fails(store, clock):
    job_id = queue(store)
    for _ in range(ATTEMPTS):
        assert claim(store).job_id == job_id
        clock.advance(LEASE + 1)
    other = queue(store)
    assert claim(store).job_id == other
    assert store.claim("t3", LEASE, ATTEMPTS) is None
    job = store.get(job_id)
    assert (job.state, job.finished_at, job.worker) == ("failed", clock.now, None)
    assert job.message == "the trainer died 3 times without finishing a round; see the log"


def test_a_job_that_kills_its_trainers_holds_up_no_other(store, clock):
    poisoned, other = queue(store), queue(store)
    assert claim(store).job_id == poisoned
    clock.advance(LEASE + 1)
    assert claim(store).job_id == other
    assert claim(store).job_id == poisoned


def test_a_job_that_cannot_go_on_for_now_waits_and_says_why_until_it_is_resumed(store):
    job_id = queue(store)
    assert store.hold(claim(store), "its folder is gone") == "paused"
    job = store.get(job_id)
    assert (job.desired_state, job.message, job.attempts_without_progress) == ("paused", "its folder is gone", 0)
    assert "its folder is gone" in [line.message for line in store.logs(job_id)]
    assert store.resume(job_id).message is None
    lease = claim(store)
    store.stop(job_id)
    assert store.hold(lease, "its folder is gone") == "stopped"


def test_a_round_shows_that_it_is_not_the_job(store, clock):
    job_id = queue(store)
    for number in range(2 * ATTEMPTS):
        lease = claim(store)
        assert lease.job_id == job_id
        store.commit_round(lease, result(number))
        clock.advance(LEASE + 1)
    assert store.get(job_id).attempts == 2 * ATTEMPTS


def test_an_orderly_end_of_the_trainer_does_not_count(store):
    job_id = queue(store)
    for _ in range(2 * ATTEMPTS):
        assert store.release(claim(store)) == "queued"
    job = store.get(job_id)
    assert (job.state, job.worker, job.lease_expires_at, job.attempts_without_progress) == ("queued", None, None, 0)


def test_deaths_before_an_orderly_end_still_count(store, clock):
    job_id = queue(store)
    for _ in range(ATTEMPTS - 1):
        claim(store)
        clock.advance(LEASE + 1)
    store.release(claim(store))
    assert store.get(job_id).attempts_without_progress == ATTEMPTS - 1


@pytest.mark.parametrize(("wish", "state"), [("pause", "paused"), ("stop", "stopped")])
def test_what_was_asked_of_a_dead_trainer_is_done(store, clock, wish, state):
    job_id = queue(store)
    claim(store)
    getattr(store, wish)(job_id)
    clock.advance(LEASE + 1)
    assert store.claim("t2", LEASE, ATTEMPTS) is None
    job = store.get(job_id)
    assert (job.state, job.worker, job.attempts) == (state, None, 1)
    assert (job.finished_at is not None) == (state == "stopped")


def test_resumed_just_before_it_paused_the_job_goes_on(store):
    job_id = queue(store)
    lease = claim(store)
    store.pause(job_id)
    store.resume(job_id)
    assert store.release(lease) == "queued"
    assert claim(store).job_id == job_id


def test_stopped_just_before_it_paused_the_job_ends(store):
    job_id = queue(store)
    lease = claim(store)
    store.pause(job_id)
    store.stop(job_id)
    assert store.release(lease) == "stopped"


WRITES = {
    "renew": lambda store, lease: store.renew(lease, LEASE, 1, 2),
    "begin": lambda store, lease: store.begin(lease, snapshot_digest="abc", last_interaction_id=1),
    "inherit": lambda store, lease: store.inherit(lease, 1),
    "commit_round": lambda store, lease: store.commit_round(lease, result(2)),
    "finish": lambda store, lease: store.finish(
        lease, "succeeded", test={"HR@10": 0.2}, test_round=1, model_round=1, activate=True
    ),
    "fail": lambda store, lease: store.finish(lease, "failed", message="m", traceback="t"),
    "release": lambda store, lease: store.release(lease),
    "forget_checkpoints": lambda store, lease: store.forget_checkpoints(lease, [0]),
    "log": lambda store, lease: store.log(lease, "INFO", "still here"),
}


def after_a_round(store):
    """The lease on job 1, which has come to round 1."""
    assert queue(store) == 1
    lease = claim(store)
    store.begin(lease, snapshot_digest="abc", last_interaction_id=0)
    store.commit_round(lease, result(0))
    store.commit_round(lease, result(1, is_best=True))
    return lease


def taken_over(store, clock):
    clock.advance(LEASE + 1)
    claim(store, "t2")


def queued_again(store, clock):
    store.pause(1)
    clock.advance(LEASE + 1)
    store.claim("t2", LEASE, ATTEMPTS)
    store.resume(1)


def ended(store, clock):
    store.stop(1)
    clock.advance(LEASE + 1)
    store.claim("t2", LEASE, ATTEMPTS)


@pytest.mark.parametrize("lost", [taken_over, queued_again, ended])
@pytest.mark.parametrize("write", sorted(WRITES))
def test_a_stale_lease_writes_nothing(store, clock, engine, write, lost):
    lease = after_a_round(store)
    lost(store, clock)
    before = everything(engine)
    with pytest.raises(LeaseLostError, match=f"t1 no longer holds job 1 .token {lease.token}"):
        WRITES[write](store, lease)
    assert everything(engine) == before


@pytest.mark.parametrize("write", sorted(set(WRITES) - {"inherit"}))
def test_a_lease_that_holds_writes(store, engine, write):
    """The counterpart, without which the test above could pass for another reason."""
    lease = after_a_round(store)
    before = everything(engine)
    WRITES[write](store, lease)
    assert everything(engine) != before


def test_threads_that_claim_at_once(database_url, store):
    """Ten jobs, six trainers with connections of their own: each job runs once."""
    numbers = [queue(store) for _ in range(10)]
    claimed, barrier = [], threading.Barrier(6, timeout=PATIENCE)

    def train(worker):
        engine = connect(database_url)
        own = JobStore(engine)
        barrier.wait()
        while (found := own.claim(worker, LEASE, ATTEMPTS)) is not None:
            claimed.append(found[1].job_id)
        engine.dispose()

    threads = [threading.Thread(target=train, args=(f"t{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == numbers
    assert {job.attempts for job in store.page()} == {1}


TRAINER = """
import sys
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore
from tests.storage.builders import result
from tests.waiting import PATIENCE
store = JobStore(connect(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
while (found := store.claim(sys.argv[2], 30.0, 3)) is not None:
    lease = found[1]
    for number in range(4):
        store.commit_round(lease, result(number))
    store.finish(lease, "succeeded", model_round=3)
    print(lease.job_id, flush=True)
"""


def test_two_trainer_processes_and_ten_jobs(database_url, store, project_root):
    numbers = [queue(store) for _ in range(10)]
    command = [sys.executable, "-c", TRAINER, database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    trainers = [Forked([*command, worker], cwd=project_root, **pipes) for worker in ("t1", "t2")]
    for trainer in trainers:
        assert trainer.stdout.readline() == "ready\n"
    for trainer in trainers:
        trainer.stdin.write("go\n")
        trainer.stdin.flush()
    done = [[int(line) for line in trainer.communicate()[0].split()] for trainer in trainers]
    assert [trainer.returncode for trainer in trainers] == [0, 0]
    assert sorted(done[0] + done[1]) == numbers
    assert {(job.state, job.attempts, job.round) for job in store.page()} == {("succeeded", 1, 3)}
