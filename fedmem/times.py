"""When something was: the one reader of times, by which files and feedback become seconds since 1970, and the writer.

``read_time`` reads one value, as feedback brings it. ``data.formats.columns`` reads a column by the same pieces:
its numbers all at once in the unit of most of them, its dates by ``read_date``, once for each that is distinct.
``written`` is the form of times on the screen and the command line.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from numbers import Real
from typing import Any

from fedmem.errors import DataError
from fedmem.identifiers import shown

# A time behind the year 2100 is none of something that has happened: it is of another unit, or a placeholder.
YEAR_2101 = 4_133_980_800
YEAR_1 = -62_135_596_800
# March 1973. A number from here on is a date, in the unit that its size tells; one below may count steps.
FIRST_DATE = 1e8
_TOO_LARGE = YEAR_2101 * 10**9  # in nanoseconds
_ZONE_WORD = re.compile(r"\s*(?:UTC|GMT|Z)$", re.IGNORECASE)
_BLANK_BEFORE_OFFSET = re.compile(r"(?<=\d)\s+(?=[+-]\d\d:?\d\d$)")


@dataclass(frozen=True)
class Unit:
    """A unit that files count times in: how many make a second, and above which number it must be this one."""

    name: str
    per_second: int
    above: float

    def in_seconds(self, number: Any) -> Any:
        """Convert a number or an array. Whole seconds stay whole, also where a float could not hold the number."""
        return number // self.per_second + number % self.per_second / self.per_second


# A number above the limit, in the next larger unit, would be no date. Good for dates from 1974 on.
NANOSECONDS, SECONDS = Unit("nanoseconds", 10**9, 1e17), Unit("seconds", 1, 0.0)
UNITS = (
    NANOSECONDS,
    Unit("microseconds", 10**6, 1e14),
    Unit("milliseconds", 10**3, 1e11),
    SECONDS,
)


def unit_of(largest: float) -> Unit:
    """Give the unit in which a number is a time: seconds (or steps) up to 1e11, else a smaller one."""
    return next((unit for unit in UNITS if abs(largest) > unit.above), SECONDS)


def read_time(value: object) -> float:
    """Take one value as a time: seconds since 1970.

    A number is seconds or, where that would be no date, milliseconds, microseconds or nanoseconds. A text is such a
    number, or an ISO 8601 date and time, which is taken as UTC where it names no zone; so is a ``datetime``.

    Raises:
        DataError: if it is neither, or outside the years 1 to 2100; the message shows the value.
    """
    if isinstance(value, (date, datetime)):
        return check_seconds(_seconds(value), value)
    if isinstance(value, str):
        number = number_in(value)
        return read_date(value) if number is None else _of_number(number, value)
    if not isinstance(value, bool) and isinstance(value, Real):
        return _of_number(value, value)
    raise DataError(f"{_described(value)} is a {type(value).__name__}; give seconds since 1970 or an ISO 8601 date")


def read_date(text: str, date_format: str | None = None) -> float:
    """Read one date, ISO 8601 or of a ``strptime`` format: seconds since 1970, in UTC where it names no zone."""
    stripped = text.strip()
    try:
        moment = _from_iso(stripped) if date_format is None else datetime.strptime(stripped, date_format)
    except ValueError:
        wanted = "an ISO 8601 date" if date_format is None else f"a date of the form {date_format}"
        raise DataError(f"{_described(text)} is neither a number (seconds since 1970) nor {wanted}") from None
    return check_seconds(_seconds(moment), text)


def check_seconds(seconds: float, value: object) -> float:
    """Give the seconds back if they are in the years 1 to 2100, else a ``DataError`` that shows what they were."""
    if not YEAR_1 <= seconds < YEAR_2101:
        raise DataError(f"{_described(value)} is no time of the years 1 to 2100; give seconds since 1970")
    return seconds


def written(moment: datetime, now: datetime) -> str:
    """Write a time for readers, by the clock of its zone: 28 Nov, 10:05, with its year where now is another."""
    year = "" if moment.year == now.astimezone(moment.tzinfo).year else f" {moment.year}"
    return f"{moment:%d %b}{year}, {moment:%H:%M}"


def _of_number(number: Any, value: object) -> float:
    if not -_TOO_LARGE < number < _TOO_LARGE:
        raise DataError(f"{_described(value)} is no time of the years 1 to 2100; give seconds since 1970")
    return check_seconds(float(unit_of(number).in_seconds(number)), value)


def number_in(text: str) -> int | float | None:
    """Read a number as programs write it, a whole one exactly; None if the text is none."""
    for kind in (int, float):
        try:
            return kind(text) if "_" not in text else None
        except ValueError:
            continue
    return None


def _from_iso(text: str) -> datetime:
    """Read ISO 8601, also with a blank before the zone or the zone's name after it, as databases write it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(_BLANK_BEFORE_OFFSET.sub("", _ZONE_WORD.sub("+00:00", text)))


def _seconds(moment: date) -> float:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _described(value: object) -> str:
    return f"the timestamp {shown(value)}"
