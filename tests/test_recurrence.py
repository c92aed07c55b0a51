"""When a cron expression is due, in zones whose clocks change, and what is none."""

from datetime import UTC, datetime

import pytest

from fedmem.errors import ConfigError
from fedmem.recurrence import check_recurrence, next_due


def due(cron: str, timezone: str, after: str, count: int = 3) -> list[str]:
    """The next times in UTC."""
    at, found = datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp(), []
    for _ in range(count):
        at = next_due(cron, timezone, at)
        found.append(f"{datetime.fromtimestamp(at, UTC):%m-%d %H:%M}")
    return found


def test_it_is_due_at_the_zones_time():
    assert due("0 3 * * *", "UTC", "2026-01-10T03:00") == ["01-11 03:00", "01-12 03:00", "01-13 03:00"]
    assert due("0 3 * * *", "Europe/Berlin", "2026-01-10T03:00") == ["01-11 02:00", "01-12 02:00", "01-13 02:00"]
    assert due("30 4 * * mon", "Asia/Tokyo", "2026-01-10T03:00", 2) == ["01-11 19:30", "01-18 19:30"]


def test_in_summer_it_is_due_at_the_same_time_of_the_clock():
    """On 29 March 2026 Berlin's clocks go from 2:00 to 3:00, on 25 October from 3:00 to 2:00."""
    assert due("0 3 * * *", "Europe/Berlin", "2026-03-28T12:00") == ["03-29 01:00", "03-30 01:00", "03-31 01:00"]
    assert due("0 3 * * *", "Europe/Berlin", "2026-10-24T12:00") == ["10-25 02:00", "10-26 02:00", "10-27 02:00"]


def test_in_an_hour_that_is_left_out_it_is_due_right_after():
    assert due("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00") == ["03-29 01:00", "03-30 00:30", "03-31 00:30"]


def test_in_an_hour_that_comes_twice_it_is_due_once():
    assert due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00") == ["10-25 00:30", "10-26 01:30", "10-27 01:30"]


def test_every_hour_stays_every_hour():
    for day in ("2026-03-28T23:30", "2026-10-24T23:30"):
        times = due("0 * * * *", "Europe/Berlin", day, 4)
        assert [time[-5:] for time in times] == ["00:00", "01:00", "02:00", "03:00"]


@pytest.mark.parametrize(
    ("cron", "timezone", "words"),
    [
        ("0 3 * *", "UTC", "cron '0 3 . .' has 4 fields; write five"),
        ("0 0 3 * * *", "UTC", "has 6 fields"),
        ("61 3 * * *", "UTC", "cron '61 3 . . .': bad minute"),
        ("every night", "UTC", "has 2 fields"),
        ("0 3 * * *", "Europe/Atlantis", "there is no time zone 'Europe/Atlantis'"),
        ("0 3 * * *", "../UTC", "there is no time zone"),
        ("0 3 * * *", "", "there is no time zone"),
        ("0 3 */20 * 1L", "UTC", "names a day that does not come"),
    ],
)
def test_what_is_no_recurrence_is_refused_with_the_value(cron, timezone, words):
    with pytest.raises(ConfigError, match=words):
        check_recurrence(cron, timezone)
