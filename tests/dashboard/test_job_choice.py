"""Which job the pages are about before the reader has chosen."""

from dashboard.components.job_choice import default_job
from tests.dashboard.test_books import job


def test_a_job_that_trains_comes_first_and_a_paused_one_hides_nothing():
    newest, queued, paused = job(id=4, state="succeeded"), job(id=3, state="queued"), job(id=2, state="paused")
    assert default_job((newest, paused)) == newest
    assert default_job((newest, queued, paused)) == queued
    assert default_job((newest, queued, paused, job(id=1))).id == 1


def test_a_job_that_failed_hides_none_that_did_not():
    failed, older = job(id=4, state="failed"), job(id=3, state="succeeded")
    assert default_job((failed, older)) == older
    assert default_job((failed,)) == failed
