"""Whether a job may go on: heartbeats, wishes, a lease that runs out, a shutdown."""

import threading
import time

import pytest

from fedmem.errors import LeaseLostError, StorageError
from fedmem.storage.jobs import Lease
from tests.waiting import PATIENCE, until
from trainer.control import ASK_EVERY, Control, Shutdown

LEASE = Lease(7, 3, "a trainer")
SECONDS = 3.0  # of a lease: a busy machine may stop a process for one


class ScriptedJobs:
    """Renewals that answer, or raise, as told."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.renewals = []
        self.renewed = threading.Event()
        self.wanted, self.deleted = "running", False

    def has_erasures(self, lease):
        return self.deleted

    def wish(self, lease):
        return self.wanted

    def renew(self, lease, seconds, done, selected):
        self.renewals.append((lease, done, selected))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.renewed.set()
        if isinstance(answer, Exception):
            raise answer
        self.wanted = answer
        return answer


def test_a_heartbeat_tells_how_far_the_round_is_and_learns_what_is_wanted():
    jobs = ScriptedJobs("running", "paused")
    with Control(jobs, LEASE, SECONDS, Shutdown(), time.monotonic()) as control:
        assert not control.stop()
        control.watch(4, 9)
        until(lambda: (LEASE, 4, 9) in jobs.renewals, "a heartbeat")
        until(lambda: control.wish == "paused", "the wish")
        assert control.stop()


def test_the_first_clients_are_told_at_once_so_that_a_job_is_known_to_train():
    jobs = ScriptedJobs("running")
    with Control(jobs, LEASE, 3600, Shutdown(), time.monotonic()) as control:
        control.watch(0, 0)
        control.watch(1, 9)
        until(lambda: jobs.renewals, "the renewal, which is due in twenty minutes otherwise")
        control.watch(2, 9)
        time.sleep(2 * ASK_EVERY)
    assert jobs.renewals == [(LEASE, 1, 9)]


def test_a_lease_that_another_trainer_holds_is_lost_and_not_asked_for_again():
    jobs = ScriptedJobs(LeaseLostError("job 7 was taken over"))
    with Control(jobs, LEASE, SECONDS, Shutdown(), time.monotonic()) as control:
        jobs.renewed.wait(PATIENCE)
        until(lambda: not control._thread.is_alive(), "the last heartbeat")
        with pytest.raises(LeaseLostError):
            control.check()
        with pytest.raises(LeaseLostError):
            control.stop()
    assert len(jobs.renewals) == 1


def test_a_lease_outlives_a_database_that_is_away_for_a_moment_but_not_for_long():
    jobs = ScriptedJobs(StorageError("locked"), "running", StorageError("locked"))
    with Control(jobs, LEASE, SECONDS, Shutdown(), time.monotonic()) as control:
        until(lambda: len(jobs.renewals) == 2, "two renewals")
        control.check()
        until(lambda: time.monotonic() > control._renewed + SECONDS, "the end of the lease")
        with pytest.raises(LeaseLostError, match="a trainer"):
            control.check()


def test_a_job_is_handed_back_when_a_user_of_it_is_deleted():
    jobs = ScriptedJobs("running")
    with Control(jobs, LEASE, SECONDS, Shutdown(), time.monotonic()) as control:
        assert not control.stop()
        jobs.deleted = True
        until(control.stop, "the deletion")
        assert control.wish == "shutdown"


def test_a_shutdown_counts_unless_the_user_wants_something_else():
    shutdown = Shutdown()
    jobs = ScriptedJobs("running", "stopped")
    with Control(jobs, LEASE, SECONDS, shutdown, time.monotonic()) as control:
        shutdown.ask()
        assert control.stop()
        assert control.wish in ("shutdown", "stopped")
        until(lambda: control.wish == "stopped", "the wish")
