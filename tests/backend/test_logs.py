"""Lines that a caller can cause as often as it likes are said once, and counted."""

import logging

import pytest

from backend.logs import SaidToCallers
from fedmem.logs import EXTRA
from fedmem.said_once import REMEMBERED, SILENCE
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def said(clock):
    """``said(level, message, status=429)``: the record, None where it was left out."""
    once = SaidToCallers(clock)

    def say(level: int, message: str, error: Exception | None = None, **fields: object):
        found = (type(error), error, None) if error else None
        record = logging.LogRecord("uvicorn.error", level, "", 0, message, (), found)
        setattr(record, EXTRA, fields)
        return record if once.filter(record) else None

    return say


def test_the_same_is_said_once_a_minute_and_counted(said, clock):
    invalid = "Invalid HTTP request received."
    assert [said(logging.WARNING, invalid) is not None for _ in range(1000)] == [True] + [False] * 999
    assert said(logging.WARNING, "another") is not None
    assert said(logging.ERROR, invalid, ValueError()) is not None
    assert said(logging.ERROR, invalid, OSError()) is not None
    clock.now += SILENCE
    again = said(logging.WARNING, invalid)
    assert getattr(again, EXTRA) == {"left_out_before": 999}
    clock.now += SILENCE
    assert getattr(said(logging.WARNING, invalid), EXTRA) == {}


def test_answers_are_logged_one_by_one_and_refusals_once(said):
    assert all(said(logging.INFO, "request", route="/jobs", status=200) for _ in range(3))
    refused = [said(logging.INFO, "request", route="/jobs", status=429, request_id=n) for n in range(3)]
    assert [one is not None for one in refused] == [True, False, False]
    assert said(logging.INFO, "request", route="/items", status=429)


def test_what_is_remembered_is_bounded(said):
    assert all(said(logging.WARNING, f"message {number}") for number in range(3 * REMEMBERED))
