"""Rounds and prototypes are asked for once."""

from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest

from dashboard import prototype_book
from dashboard.keyed_cache import KeyedCache
from dashboard.progress import progress_line, seconds_left, seconds_per_round, share_done
from dashboard.prototype_book import PrototypeBook
from dashboard.rounds import RoundBook
from fedmem.config import ExperimentConfig
from fedmem.contracts import Job, JobMetrics, PrototypeRound, RoundMetrics
from tests.dashboard.example_rounds import Curves
from tests.waiting import PATIENCE

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
        "promotion": None,
        "model_waits": None,
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

    def metrics(self, job_id, after_round=-1, limit=1000):
        self.asked.append(after_round)
        told = rounds(self.last)[after_round + 1 :][:limit]
        return JobMetrics(job_id=job_id, state="running", rounds=told)


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


def test_the_last_round_is_asked_for_without_the_others():
    api = Told()
    book = RoundBook(api)
    api.last = 7
    ended = job(round=7, finished_at=START)
    assert [book.last(ended).round, book.last(ended).round] == [7, 7]
    assert api.asked == [6]
    assert book.last(job(id=2)) is None


def test_round_0_is_asked_for_once_without_the_others():
    api = Told()
    book = RoundBook(api)
    api.last = 7
    ended = job(round=7, finished_at=START)
    assert [[each.round for each in book.first(ended)] for _ in range(2)] == [[0], [0]]
    assert api.asked == [-1]


def test_a_question_about_one_job_does_not_block_another():
    cache, asking, answered = KeyedCache(8), Event(), Event()

    def ask():
        with cache.entry("slow", ()):
            asking.set()
            answered.wait(PATIENCE)

    thread = Thread(target=ask)
    thread.start()
    assert asking.wait(PATIENCE)
    with cache.entry("another", "known") as entry:
        assert entry.value == "known"
    answered.set()
    thread.join()


def test_the_jobs_looked_at_last_are_remembered():
    cache = KeyedCache(2)
    for key in ("a", "b", "a", "c"):
        with cache.entry(key, [key]):
            pass
    with cache.entry("a", "forgotten") as kept, cache.entry("b", "forgotten") as lost:
        assert (kept.value, lost.value) == (["a"], "forgotten")


class Kept:
    """An API that keeps the prototypes of every tenth round, and counts what it is asked."""

    def __init__(self):
        self.last, self.asked = 0, 0

    def prototypes(self, job_id, number=None):
        self.asked += 1
        kept = tuple(range(10, self.last + 1, 10))
        return PrototypeRound(job_id=1, round=number or self.last, rounds=kept, prototypes=(), collapse=None)


def test_of_many_rounds_so_many_are_kept_and_the_same_ones_again(monkeypatch):
    monkeypatch.setattr(prototype_book, "MOST_ROUNDS", 4)
    api = Kept()
    book = PrototypeBook(api)

    def read(last):
        api.last, before = last, api.asked
        return [each.round for each in book.read(job(round=last), at_most=100)], api.asked - before

    assert read(40) == ([10, 20, 30, 40], 4)
    assert read(40) == ([10, 20, 30, 40], 0)
    assert read(50) == ([10, 30, 50], 1)
    assert read(60) == ([10, 30, 50, 60], 1)
    assert read(90) == ([10, 50, 90], 1)


def test_the_pace_is_not_moved_by_a_pause():
    before = rounds(10)
    after = tuple(r.model_copy(update={"finished_at": r.finished_at + timedelta(hours=8)}) for r in rounds(20)[11:])
    assert seconds_per_round(before + after) == 2.0


def test_the_pace_is_that_of_the_last_rounds_as_busy_as_the_machine_is_now():
    told, delay = [], timedelta()
    for each in rounds(60):
        delay += timedelta(seconds=6) * (each.round > 45) * (each.round % 2)  # every other round takes longer since
        told.append(each.model_copy(update={"finished_at": each.finished_at + delay}))
    assert seconds_per_round(told) == pytest.approx(2.0 + 6 * 0.6, abs=0.7)


def test_a_job_whose_record_is_damaged_has_done_nothing():
    assert share_done(job(round=0).model_copy(update={"num_rounds": 0})) == 0.0


def test_time_left_counts_the_clients_of_the_round_in_progress():
    half = job(round=50, clients_done=5, clients_selected=10)
    assert seconds_left(half, rounds(50)) == 49.5 * 2
    assert share_done(half) == 0.505
    assert progress_line(half, rounds(50)) == (
        "Round 50 of 100 · 5 of 10 clients of the next one · 2.0 s per round · about 2 min left"
    )


def test_what_follows_the_last_client_and_the_last_round_is_named():
    between = job(round=50, clients_done=10, clients_selected=10)
    assert "· all 10 clients of the next one are through ·" in progress_line(between, rounds(50))
    judged = job(round=80, clients_done=10, clients_selected=10, phase="testing")
    assert progress_line(judged, rounds(80)) == "Round 80 of 100 · its best model is tested and judged"
    assert progress_line(job(phase="preparing"), ()) == "Round 0 of 100 · its data is read and its texts are encoded"


def test_time_left_counts_the_validations_to_come():
    told, delay = [], timedelta()
    for each in rounds(50):
        delay += timedelta(seconds=5) if each.round and each.round % 10 == 0 else timedelta()
        told.append(each.model_copy(update={"finished_at": each.finished_at + delay}))
    assert seconds_per_round(told) == 2.0
    assert seconds_left(job(round=50), told) == 50 * 2 + 5 * 5


def test_a_job_that_ended_early_says_so():
    assert progress_line(job(state="succeeded", round=50), rounds(50)) == "Round 50 of 100, ended early"
    assert progress_line(job(state="stopped", round=50), rounds(50)) == "Round 50 of 100"


def test_a_job_that_stands_still_has_no_time_left():
    assert seconds_left(job(state="paused", round=50), rounds(50)) is None
