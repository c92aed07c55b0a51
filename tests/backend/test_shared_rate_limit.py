"""Backends that count together, by a clock of the test's own and exchanges in memory."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.shared_rate_limit import SharedRateLimit
from tests.clock import Clock


class Several:
    """So many backends that each exchange once a second, none when another does."""

    def __init__(self, count: int, per_minute: int) -> None:
        self.clock = Clock(0.0)
        self.limits = [SharedRateLimit(per_minute, "of all") for _ in range(count)]
        self.waiting = [Counter() for _ in range(count)]
        for number, limit in enumerate(self.limits):
            limit.clock = self.clock
            self.exchange(number)

    def exchange(self, number: int) -> None:
        def tell(spent):
            for other, waiting in enumerate(self.waiting):
                if other != number:
                    waiting.update(spent)
            theirs, self.waiting[number] = self.waiting[number], Counter()
            return len(self.limits), theirs

        self.limits[number].exchange(tell)

    def let_through(self, number: int, times: int) -> int:
        return sum(not self.limits[number].take("a") for _ in range(times))

    def second(self, asked: list[int]) -> int:
        """Let a second pass in which each is asked so often, half before its exchange; return what was let through."""
        through = 0
        for number, times in enumerate(asked):
            through += self.let_through(number, times // 2)
            self.clock.now += 1 / len(asked)
            self.exchange(number)
            through += self.let_through(number, times - times // 2)
        return through


def test_one_alone_is_as_if_it_did_not_share():
    one = Several(1, 60)
    assert one.let_through(0, 100) == 60
    assert one.limits[0].take("a") == pytest.approx(1.0)
    one.exchange(0)
    assert one.limits[0].take("a") == pytest.approx(1.0)
    assert not one.limits[0]._untold, "nothing is noted that none will hear"


def test_a_burst_at_all_of_them_is_as_long_as_one_at_one():
    three = Several(3, 60)
    assert [three.let_through(number, 100) for number in range(3)] == [20, 20, 20]
    assert three.second([100] * 3) <= 1


def test_a_client_that_keeps_to_one_has_all_of_it_after_some_exchanges():
    two = Several(2, 60)
    through = sum(two.second([100, 0]) for _ in range(12))
    assert 60 < through <= 60 + 12
    steady = sum(two.second([100, 0]) for _ in range(60))
    assert 55 <= steady <= 60


def test_what_was_more_work_is_paid_for_at_all_of_them():
    two = Several(2, 60)
    assert two.let_through(0, 1) == 1
    two.limits[0].charge("a", 99)
    two.second([0, 0])
    assert two.limits[1].take("a") > 30
    assert two.limits[1].take("b") == 0.0


def test_a_limit_lower_than_there_are_backends_lets_something_through():
    many = Several(8, 2)
    assert many.second([1] * 8) <= 8
    assert sum(many.second([1] * 8) for _ in range(600)) == pytest.approx(20, abs=8)


@given(
    per_minute=st.integers(6, 600),
    asked=st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=1, max_size=30),
)
def test_together_they_let_through_what_one_would(per_minute, asked):
    three = Several(3, per_minute)
    through = sum(three.second(second) for second in asked)
    assert through <= per_minute + len(asked) * per_minute / 60 + 3


def test_an_exchange_that_fails_loses_nothing():
    two = Several(2, 60)
    assert two.let_through(0, 100) == 30

    def broken(spent):
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError):
        two.limits[0].exchange(broken)
    assert two.let_through(0, 100) == 0
    two.second([0, 0])
    assert two.let_through(1, 100) <= 16


def test_no_address_is_told():
    told = {}
    two = Several(2, 60)
    two.limits[0].take("192.0.2.7")
    two.limits[0].exchange(lambda spent: told.update(spent) or (2, {}))
    assert list(told.values()) == [1]
    assert "192.0.2.7" not in next(iter(told))
    other = SharedRateLimit(60, "another")
    assert other._digest("192.0.2.7") not in told


def test_who_has_rested_is_forgotten_here_too():
    two = Several(2, 60)
    for client in "abc":
        two.limits[0].take(client)
    two.clock.now += 60
    two.limits[0]._sweep_at = 3
    two.limits[0].take("d")
    assert len(two.limits[0]._buckets) == len(two.limits[0]._untold) == 1
