"""Rounds and prototypes are asked for once."""

from datetime import UTC, datetime, timedelta

from dashboard.progress import progress_line, seconds_left, seconds_per_round, share_done
from dashboard.rounds import RoundBook
from fedmem.config import ExperimentConfig
from fedmem.contracts import Job, JobMetrics, RoundMetrics
from tests.dashboard.example_rounds import Curves

START = datetime(2026, 1, 1, tzinfo=UTC)


def job(**changes):
    values = {
        "id": 1,
        "kind": "training",
        "dataset": "demo",
        "state": "running",
        "desired_state": "running",
        "round": 0,
        "num_rounds": 100,
        "best_round": None,
        "clients_done": 0,
        "clients_selected": 0,
        "created_at": START,
        "started_at": START,
        "finished_at": None,
        "worker": "w",
        "attempts": 1,
        "start_from": None,
        "snapshot_digest": None,
        "model_version": None,
        "message": None,
        "config": ExperimentConfig(),
    }
    return Job(**values | changes)


def rounds(last, seconds=2.0):
    return tuple(
        RoundMetrics(
            round=number,
            finished_at=START + timedelta(seconds=seconds * number),
            is_best=False,
            checkpoint=True,
            metrics=Curves().metrics(number),
        )
        for number in range(last + 1)
    )


class Told:
    """An API that knows so many rounds and counts what it is asked."""

    def __init__(self):
        self.last, self.asked = 0, []

    def metrics(self, job_id, after_round):
        self.asked.append(after_round)
        return JobMetrics(job_id=job_id, state="running", rounds=rounds(self.last)[after_round + 1 :])


def test_only_news_is_asked_for():
    api = Told()
    book = RoundBook(api)
    api.last = 3
    assert [r.round for r in book.read(job(round=3))] == [0, 1, 2, 3]
    book.read(job(round=3))
    api.last = 5
    assert [r.round for r in book.read(job(round=5))] == [0, 1, 2, 3, 4, 5]
    assert api.asked == [-1, 3]


def test_a_job_that_was_not_begun_costs_no_question():
    api = Told()
    assert RoundBook(api).read(job(started_at=None)) == ()
    assert api.asked == []


def test_the_end_and_another_database_are_asked_for_anew():
    api = Told()
    book = RoundBook(api)
    api.last = 2
    book.read(job(round=2))
    book.read(job(round=2, finished_at=START))
    book.read(job(round=2, created_at=START + timedelta(days=1)))
    assert api.asked == [-1, -1, -1]


def test_the_pace_is_not_moved_by_a_pause():
    before = rounds(10)
    after = tuple(r.model_copy(update={"finished_at": r.finished_at + timedelta(hours=8)}) for r in rounds(20)[11:])
    assert seconds_per_round(before + after) == 2.0


def test_time_left_counts_the_clients_of_the_round_in_progress():
    half = job(round=50, clients_done=5, clients_selected=10)
    assert seconds_left(half, rounds(50)) == 49.5 * 2
    assert share_done(half) == 0.505
    assert progress_line(half, rounds(50)) == (
        "Round 50 of 100 · 5 of 10 clients of the next one · 2.0 s per round · about 2 min left"
    )


def test_a_job_that_stands_still_has_no_time_left():
    assert seconds_left(job(state="paused", round=50), rounds(50)) is None
