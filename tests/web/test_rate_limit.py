"""The bucket of tokens, by a clock of the test's own."""

import pytest

from tests.clock import Clock
from web import rate_limit
from web.rate_limit import SWEEP_AT, RateLimit


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


def test_so_many_at_once_and_then_one_at_a_time(clock):
    limit = RateLimit(60, clock)
    assert [limit.take("a") for _ in range(60)] == [0.0] * 60
    assert limit.take("a") == pytest.approx(1.0)
    clock.now += 0.5
    assert limit.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert limit.take("a") == 0.0
    assert limit.take("a") > 0


def test_clients_do_not_share(clock):
    limit = RateLimit(1, clock)
    assert limit.take("a") == limit.take("b") == 0.0
    assert limit.take("a") > 0


def test_a_rest_never_saves_more_than_a_minute(clock):
    limit = RateLimit(3, clock)
    clock.now += 3600
    assert [limit.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_who_has_rested_is_forgotten(clock):
    limit = RateLimit(2, clock)
    for client in range(SWEEP_AT):
        limit.take(str(client))
    clock.now += 60
    limit.take("the last straw")
    assert len(limit._buckets) == 1


def test_many_who_do_not_rest_are_looked_through_now_and_then_only(clock, monkeypatch):
    limit, sweeps = RateLimit(2, clock), []
    sweep = limit._sweep
    monkeypatch.setattr(limit, "_sweep", lambda now: sweeps.append(len(limit._buckets)) or sweep(now))
    for client in range(4 * SWEEP_AT):
        limit.take(str(client))
    assert sweeps == [SWEEP_AT + 1, 2 * SWEEP_AT + 3]
    clock.now += 60
    for client in range(SWEEP_AT):
        limit.take(f"another {client}")
    assert len(limit._buckets) <= SWEEP_AT


def test_what_is_more_work_is_paid_for_afterwards(clock):
    limit = RateLimit(60, clock)
    assert limit.take("a") == 0.0
    limit.charge("a", 99)
    assert limit.take("a") == pytest.approx(41.0)
    assert limit.take("b") == 0.0
    clock.now += 41
    assert limit.take("a") == 0.0


def test_a_client_may_be_charged_by_a_thread_while_the_others_are_swept(clock, monkeypatch):
    monkeypatch.setattr(rate_limit, "SWEEP_AT", 2)

    class Charged(RateLimit):
        def _sweep(self, now: float) -> None:
            self.sweeping = True
            super()._sweep(now)

        def _tokens(self, client: str, now: float) -> float:
            if vars(self).pop("sweeping", False):
                self.charge("d", 1)
            return super()._tokens(client, now)

    rate = Charged(2, clock)
    assert [rate.take(client) for client in "abc"] == [0.0] * 3
