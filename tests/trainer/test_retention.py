"""Old jobs go by themselves, where that is asked for."""

import logging

from fedmem.errors import StorageError, UnknownJobError
from tests.clock import Clock
from trainer.retention import EVERY, Retention
from trainer.settings import Settings


class Removal:
    """Jobs that would be removed, and those that were."""

    def __init__(self, *jobs: int) -> None:
        self.left, self.gone, self.asked, self.swept = list(jobs), [], [], 0

    def sweep(self):
        self.swept += 1

    def beyond(self, number, days):
        self.asked.append((number, days))
        return list(self.left)

    def remove(self, job_id, reason):
        self.left.remove(job_id)
        if job_id == 2:
            raise UnknownJobError("another trainer was first")
        self.gone.append(job_id)


def retention(removal, clock=None, **settings) -> Retention:
    return Retention(removal, Settings(_env_file=None, **settings), clock or Clock())


def test_unless_it_is_asked_for_nothing_goes():
    removal = Removal(1)
    retention(removal).tidy(now=True)
    assert (removal.asked, removal.swept) == ([], 1)


def test_once_an_hour_and_after_a_job(caplog):
    removal, clock = Removal(1, 2, 3), Clock()
    old = retention(removal, clock, keep_jobs=5, keep_jobs_days=30)
    with caplog.at_level(logging.INFO, "trainer"):
        old.tidy()
    assert (removal.gone, removal.asked) == ([1, 3], [(5, 30)])
    assert "job 3 is removed" in caplog.text
    old.tidy()
    assert len(removal.asked) == 1
    old.tidy(now=True)
    clock.advance(EVERY)
    old.tidy()
    assert len(removal.asked) == 3


def test_what_fails_costs_no_training(caplog):
    removal = Removal(1)

    def fail(*_):
        raise StorageError("away")

    removal.beyond = fail
    retention(removal, keep_jobs=5).tidy()
    assert "old jobs are not removed: away" in caplog.text
