"""Columns of times, numbers in one unit or dates of one form, as seconds since 1970: the rules of ``fedmem.times``."""

import logging
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fedmem.data.formats.columns.date_forms import form_of
from fedmem.data.formats.columns.time_values import DATE, MISSING, NUMBER, UNREAD, Kinds, TimeValues, time_values
from fedmem.data.formats.tables.bad_rows import BadRows
from fedmem.data.formats.tables.table import Batch, LineNumbers
from fedmem.data.interactions import NumericArray
from fedmem.errors import DataError
from fedmem.identifiers import shown
from fedmem.times import FIRST_DATE, NANOSECONDS, SECONDS, UNITS, YEAR_1, YEAR_2101, Unit, read_date, unit_of

_log = logging.getLogger(__name__)

_SMALLER_UNITS = UNITS[::-1]
_FIRST_DAY, _LAST_DAY = 19_000_101, 21_001_231  # as %Y%m%d
_SPREADSHEET_1970, _SPREADSHEET_2101 = 25_569, 73_416  # days since 1899-12-30
# What dates that are not ISO 8601 begin with: 31.12.25, 12/31/2025, Dec 31, 2025.
_OTHER_DATE = re.compile(r"\D*\d{1,2}[ ,./-]")
_NO_TIME, _UNUSABLE = "no timestamp", "unusable timestamp"

Mask = npt.NDArray[np.bool_]


class Times(NamedTuple):
    """Seconds since 1970 (or steps) [n], which rows have one [n], and an order [n] that the seconds do not keep."""

    seconds: NumericArray
    valid: Mask
    order: npt.NDArray[np.int64] | None = None


class TimeColumn:
    """Reads a column batch by batch; what only the whole of it tells (unit, form of dates) is decided at the end."""

    def __init__(self, name: str, date_format: str | None, bad_rows: BadRows) -> None:
        self._name = name
        self._format = date_format
        self._bad_rows = bad_rows
        self._parts: list[TimeValues] = []
        self._places: list[tuple[LineNumbers, Path]] = []

    def add(self, batch: Batch) -> None:
        """Read the next rows."""
        self._parts.append(time_values(batch.columns[self._name], self._name, self._format, batch.path))
        self._places.append((batch.lines, batch.path))

    def finish(self) -> Times:
        """Return every row's time; rows without one are noted as bad."""
        if not self._parts:
            return Times(np.zeros(0, np.int64), np.zeros(0, bool))
        values, kinds = self._with_other_dates()
        self._note(kinds == MISSING, lambda row: "there is no timestamp", _NO_TIME)
        if (kinds == NUMBER).sum() >= (kinds == DATE).sum():
            self._note(
                kinds == DATE, lambda row: f"the timestamp {_written(values[row])} is a date where others are numbers"
            )
            return self._of_numbers(values, kinds == NUMBER)
        self._note(kinds == NUMBER, lambda row: f"the timestamp {values[row]} is a number where others are dates")
        ticks = [part.nanoseconds for part in self._parts if part.nanoseconds is not None]
        order = _order(values, np.concatenate(ticks)) if len(ticks) == len(self._parts) else None
        seconds = values.astype(np.float64)
        return Times(seconds, self._within_years(seconds, kinds == DATE, lambda row: f"{seconds[row]:.0f} s"), order)

    def _with_other_dates(self) -> tuple[NumericArray, Kinds]:
        """Return all values, after reading the unread texts in the one form that most of them have, if there is one."""
        values: Any = np.concatenate([part.values for part in self._parts])
        kinds = np.concatenate([part.kinds for part in self._parts])
        texts = [text for part in self._parts for text in part.texts]
        rows = np.flatnonzero(kinds == UNREAD)
        form = self._form(texts) if len(rows) * 2 > len(kinds) else None
        reasons = dict(zip(rows.tolist(), texts, strict=True))
        if form is None:
            self._note(kinds == UNREAD, lambda row: self._why_unread(reasons[row]))
            return values, kinds
        seconds = {text: _seconds_in(text, form) for text in set(texts)}
        values = values.astype(np.float64)
        values[rows] = [seconds[text] for text in texts]
        kinds[rows] = np.where(np.isnan(values[rows]), UNREAD, DATE)
        self._note(kinds == UNREAD, lambda row: f"the timestamp {shown(reasons[row])} is no date of the form {form}")
        return values, kinds

    def _form(self, texts: list[str]) -> str | None:
        if self._format is not None:
            return None
        path = self._places[0][1]
        form = form_of(list(dict.fromkeys(texts)), path, self._name)
        if form is not None:
            _log.info("%s: the %s is read as %s, the one form that fits", path, self._name, form)
        return form

    def _why_unread(self, text: str) -> str:
        try:
            read_date(text, self._format)
        except DataError as error:
            return str(error) + self._advice(text)
        raise AssertionError("the text is a date")

    def _advice(self, text: str) -> str:
        """Say what to do about a text that may be a date of another form."""
        return "" if self._format or not _OTHER_DATE.match(text) else "; say the form of other dates by --date-format"

    def _of_numbers(self, values: NumericArray, valid: Mask) -> Times:
        if not valid.any():
            return Times(values, valid)
        self._ask_for_days(values[valid])
        self._ask_for_dates(values[valid])
        unit, other = _unit(values, valid)
        self._note(other, lambda row: _in_another_unit(values[row], unit))
        seconds = values if unit is SECONDS else np.asarray(unit.in_seconds(values), dtype=np.float64)
        within = self._within_years(seconds, valid & ~other, lambda row: str(values[row]))
        if unit is not SECONDS:
            _log.info("%s: the times are taken as %s since 1970", self._places[0][1], unit.name)
        order = _order(seconds, values) if unit is NANOSECONDS else None
        return Times(seconds, within, order)

    def _within_years(self, seconds: NumericArray, valid: Mask, written: Callable[[int], str]) -> Mask:
        """Return which of the valid times are in the years 1 to 2100; the others are noted as bad."""
        beyond = valid & ((seconds < YEAR_1) | (seconds >= YEAR_2101))
        self._note(beyond, lambda row: f"the timestamp {written(row)} is no time of the years 1 to 2100")
        return valid & ~beyond

    def _ask_for_days(self, numbers: NumericArray) -> None:
        """Raise ``DataError`` for numbers such as 20251231, if all of them are days written without separators."""
        if numbers.min() < _FIRST_DAY or numbers.max() > _LAST_DAY:
            return
        if not all(_is_day(number) for number in np.unique(numbers).tolist()):
            return
        raise DataError(
            f"{self._places[0][1]}: every {self._name} is a day of the calendar if its digits are read as %Y%m%d "
            f"({numbers[0]}), and no time as seconds since 1970; say so by --date-format %Y%m%d"
        )

    def _ask_for_dates(self, numbers: NumericArray) -> None:
        """Raise ``DataError`` for numbers such as 45658.5, by which a spreadsheet counts days; steps are whole."""
        fractions = numbers[numbers % 1 != 0]
        if not len(fractions) or numbers.min() < _SPREADSHEET_1970 or numbers.max() >= _SPREADSHEET_2101:
            return
        moment = datetime.fromtimestamp((float(fractions[0]) - _SPREADSHEET_1970) * 86_400, UTC)
        raise DataError(
            f"{self._places[0][1]}: every {self._name} is a day number as spreadsheets keep dates ({fractions[0]} is "
            f"{moment:%Y-%m-%d %H:%M}), and no time as seconds since 1970; save the column as text, or as dates in xlsx"
        )

    def _note(self, rows: Mask, reason: Callable[[int], str], kind: str = _UNUSABLE) -> None:
        """Note these rows of the file as bad."""
        if not rows.any():
            return
        first = 0
        for lines, path in self._places:
            for row in np.flatnonzero(rows[first : first + len(lines)]).tolist():
                self._bad_rows.add(int(lines[row]), reason(first + row), kind, path)
            first += len(lines)


def _unit(values: NumericArray, valid: Mask) -> tuple[Unit, Mask]:
    """Find the unit of most of the numbers that reveal one, else seconds; and mark those in another unit [n]."""
    sizes = np.abs(values.astype(np.float64))
    tells = valid & (sizes >= FIRST_DATE) & (sizes < YEAR_2101 * 1e9)
    units = np.digitize(sizes, [unit.above for unit in _SMALLER_UNITS[1:]], right=True)
    most = int(np.bincount(units[tells], minlength=1).argmax())
    return _SMALLER_UNITS[most], tells & (units != most)


def _seconds_in(text: str, form: str) -> float:
    """Read a date of a form, NaN where the text is none."""
    try:
        return read_date(text, form)
    except DataError:
        return float("nan")


def _in_another_unit(number: float, unit: Unit) -> str:
    return f"the timestamp {number} is in {unit_of(number).name} by its size, most of its column in {unit.name}"


def _order(seconds: NumericArray, ticks: NumericArray) -> npt.NDArray[np.int64] | None:
    """Return the time order of rows whose finer times differ though their seconds do not, else None."""
    if ticks.dtype != np.int64 or len(np.unique(seconds)) == len(np.unique(ticks)):
        return None
    return np.argsort(ticks, kind="stable")


def _is_day(number: float) -> bool:
    year, month, day = int(number) // 10_000, int(number) // 100 % 100, int(number) % 100
    try:
        return number == int(number) and bool(date(year, month, day))
    except ValueError:
        return False


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat()
