"""One batch of a column of times: what in it is a number, what is a date, and what is still to be found out."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedmem.data.formats.columns.numbers import floats_in
from fedmem.data.formats.tables.table import Values, distinct
from fedmem.data.interactions import NumericArray
from fedmem.errors import DataError
from fedmem.identifiers import is_missing, shown
from fedmem.times import UNITS, read_date, read_time

MISSING, NUMBER, DATE, UNREAD = range(4)
_ARROW_UNITS = dict(zip(("ns", "us", "ms", "s"), UNITS, strict=True))

Kinds = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class TimeValues:
    """n values: numbers as they stand or seconds of dates [n], and which they are [n].

    ``texts`` are those of the UNREAD rows, in their order; ``nanoseconds`` [n] are there if the type counts them.
    """

    values: NumericArray
    kinds: Kinds
    texts: tuple[str, ...] = ()
    nanoseconds: npt.NDArray[np.int64] | None = None


def time_values(column: Values, name: str, date_format: str | None, path: Path) -> TimeValues:
    """Read a column: all at once where its type tells what it is, else each distinct value."""
    if isinstance(column, list):
        return (None if date_format else _of_integers(column)) or _of_distinct(column, date_format)
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind) or pa.types.is_boolean(kind):
        raise DataError(
            f"{path}: the column {name!r} holds values of type {kind}, which are no times; give seconds since 1970, "
            "dates, or timestamps"
        )
    if pa.types.is_date(kind):
        return _of_timestamps(column.cast(pa.timestamp("s")))
    if pa.types.is_timestamp(kind):
        return _of_timestamps(column)
    return (None if date_format else _of_whole_numbers(column)) or _of_distinct(column, date_format)


def _of_timestamps(column: pa.ChunkedArray) -> TimeValues:
    numbers = np.asarray(pc.fill_null(column.cast(pa.int64()), 0), dtype=np.int64)
    kinds = np.where(np.asarray(pc.is_valid(column)), DATE, MISSING).astype(np.uint8)
    seconds = np.asarray(_ARROW_UNITS[column.type.unit].in_seconds(numbers), dtype=np.float64)
    return TimeValues(seconds, kinds, nanoseconds=numbers if column.type.unit == "ns" else None)


def _of_integers(column: list[Any]) -> TimeValues | None:
    if not all(type(value) is int for value in column):
        return None
    try:
        numbers = np.array(column, dtype=np.int64)
    except OverflowError:
        return None
    return TimeValues(numbers, np.full(len(column), NUMBER, np.uint8))


def _of_whole_numbers(column: pa.ChunkedArray) -> TimeValues | None:
    if column.null_count or not (pa.types.is_integer(column.type) or _is_text(column.type)):
        return None
    try:
        numbers = np.asarray(column.cast(pa.int64()), dtype=np.int64)
    except pa.ArrowInvalid:
        return None  # some value is no whole number of 64 bits: the others find out which
    return TimeValues(numbers, np.full(len(numbers), NUMBER, np.uint8))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _of_distinct(column: Values, date_format: str | None) -> TimeValues:
    known, codes = distinct(column)
    texts = [_as_text(value) for value in known]
    numbers = [None] * len(known) if date_format else _numbers(known, texts)
    kinds = np.full(len(known), UNREAD, np.uint8)
    values = np.zeros(len(known))
    for code, (value, text, number) in enumerate(zip(known, texts, numbers, strict=True)):
        if number is not None:
            values[code], kinds[code] = number, NUMBER
        elif is_missing(value):
            kinds[code] = MISSING
        else:
            values[code], kinds[code] = _date(value, text, date_format)
    unread = np.flatnonzero(kinds[codes] == UNREAD)
    return TimeValues(values[codes], kinds[codes], tuple(texts[code] for code in codes[unread]))


def _numbers(known: list[Any], texts: list[str]) -> list[float | None]:
    """Return, for the values that are numbers or write one, those that fit into a float; True is none."""
    return floats_in(
        [
            text if isinstance(value, bytes) else None if isinstance(value, bool) else value
            for value, text in zip(known, texts, strict=True)
        ]
    )


def _date(value: Any, text: str, date_format: str | None) -> tuple[float, int]:
    try:
        if isinstance(value, date):
            return read_time(value), DATE
        return (0.0, UNREAD) if isinstance(value, bool) else (read_date(text, date_format), DATE)
    except DataError:
        return 0.0, UNREAD


def _as_text(value: Any) -> str:
    """Show a value as its file does."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return shown(value)
