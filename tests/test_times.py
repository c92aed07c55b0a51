"""One reader of times: every unit and every ISO form of a moment is the same moment."""

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedmem.errors import DataError
from fedmem.times import UNITS, read_date, read_time, unit_of, written

MOMENT = datetime(2025, 11, 24, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        1764000000,
        1764000000.0,
        np.int64(1764000000),
        "1764000000",
        " 1764000000.0 ",
        1764000000000,
        "1764000000000",
        1764000000000000,
        1764000000000000000,
        "2025-11-24T16:00:00Z",
        "2025-11-24T16:00:00",
        "2025-11-24 16:00",
        "2025-11-24 16:00:00 UTC",
        "2025-11-24T17:00:00+01:00",
        "2025-11-24 18:00:00.000 +0200",
        "20251124T160000Z",
        MOMENT,
        MOMENT.replace(tzinfo=None),
        MOMENT.astimezone(timezone(timedelta(hours=-5))),
    ],
)
def test_one_moment(value):
    assert read_time(value) == 1764000000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (17, 17.0),
        ("17", 17.0),
        (-86400, -86400.0),
        (1.5, 1.5),
        ("1970-01-02", 86400.0),
        (date(1969, 12, 31), -86400.0),
    ],
)
def test_steps_and_dates_are_what_they_are(value, seconds):
    assert read_time(value) == seconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yesterday", "the timestamp 'yesterday' is neither a number .* nor an ISO 8601 date"),
        ("31.12.2025", "neither a number"),
        ("12/31/2025", "neither a number"),
        ("2025-02-30", "neither a number"),
        ("", "the timestamp '' is neither"),
        ("inf", "no time of the years"),
        ("1_000", "neither a number"),
        (float("nan"), "the timestamp nan is no time of"),
        (float("inf"), "no time of the years"),
        (10**400, "the timestamp 10+.. is no time of the years"),
        (1e22, r"the timestamp 1e\+22 is no time of the years 1 to 2100"),
        (-1e22, "no time of the years"),
        ("9999-12-31T23:59:59-14:00", "no time of the years"),
        ("2101-01-01", "no time of the years"),
        (99_999_999_999, "no time of the years"),
        (True, "is a bool"),
        (None, "is a NoneType"),
        ({"t": 1}, "is a dict"),
    ],
)
def test_what_is_no_time_is_shown(value, message):
    with pytest.raises(DataError, match=message):
        read_time(value)


@given(st.integers(1, 4_133_980_799 * 10**9))
@example(99_999_999_999)  # as seconds the year 5138, as milliseconds March 1973: which is not to be guessed
@example(99_999_999_999_999_999)
def test_a_number_is_a_time_up_to_2100_or_refused(number):
    seconds = unit_of(number).in_seconds(number)
    if seconds < datetime(2101, 1, 1, tzinfo=UTC).timestamp():
        assert read_time(number) == seconds
    else:
        with pytest.raises(DataError, match=str(number)):
            read_time(number)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
@given(seconds=st.integers(10**9, 4_133_980_799))
def test_a_moment_is_the_same_in_every_unit(unit, seconds):
    assert unit_of(seconds * unit.per_second) == unit
    assert read_time(seconds * unit.per_second) == seconds


def test_an_array_of_numbers_is_read_as_each_of_them():
    numbers = np.array([1764000000123456789, 4_111_686_019_000_000_000, 10**17 + 1])
    assert unit_of(numbers.max()).in_seconds(numbers).tolist() == [read_time(int(number)) for number in numbers]


def test_a_date_of_a_given_form():
    assert read_date("31.12.2025", "%d.%m.%Y") == read_date("12/31/2025", "%m/%d/%Y") == read_date("2025-12-31")
    with pytest.raises(DataError, match=r"'12/31/2025' is neither a number .* nor a date of the form %d/%m/%Y"):
        read_date("12/31/2025", "%d/%m/%Y")


def test_a_time_is_written_by_its_zone_with_the_year_where_it_is_another():
    berlin = timezone(timedelta(hours=1))
    assert written(MOMENT, MOMENT + timedelta(days=30)) == "24 Nov, 16:00"
    assert written(MOMENT.astimezone(berlin), MOMENT) == "24 Nov, 17:00"
    assert written(MOMENT, MOMENT + timedelta(days=60)) == "24 Nov 2025, 16:00"
    new_year = datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    assert written(new_year, new_year) == "31 Dec, 23:30"
    assert written(new_year.astimezone(berlin), new_year) == "01 Jan, 00:30"
