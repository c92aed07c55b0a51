"""Interactions of every format, in file order."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fedmem.data.formats.bad_rows import BadRows
from fedmem.data.formats.columns import MOVIELENS_COLUMNS, Columns
from fedmem.data.formats.detection import check_format, detect_format
from fedmem.data.formats.parquet import read_parquet
from fedmem.data.formats.raw_text import read_bytes, text_lines_only
from fedmem.data.formats.text_table import TextTable, header_of, parse_csv, parse_delimited
from fedmem.data.interactions import Interactions, NumericArray, StrArray
from fedmem.errors import DataError

_log = logging.getLogger(__name__)

_COLUMNS = Columns()
_RATING_NAMES = (_COLUMNS.user, _COLUMNS.item, "rating", _COLUMNS.timestamp)
# A control character: text_lines_only has made sure that none is in the file.
_UNIT_SEPARATOR = "\x1f"
_MISSING = pa.array(["", "nan"])


def read_interactions(
    path: Path, format: str = "auto", skip_bad_rows: int = 0, columns: Columns | None = None
) -> Interactions:
    """Read one file; ``DataError`` names the first row beyond the ``skip_bad_rows`` bad ones that are put up with.

    Rows without a timestamp column get their row number, so that file order is time order.
    """
    check_format(format)
    found = detect_format(path) if format == "auto" else format
    if found == "movielens-csv":
        columns = MOVIELENS_COLUMNS
    bad_rows = BadRows(path, skip_bad_rows, unit="row " if found == "parquet" else "")
    table, names = _READERS[found](path, columns or _COLUMNS, bad_rows)
    interactions = _to_interactions(table, names, bad_rows)
    bad_rows.check()
    if not len(interactions):
        raise DataError(f"{path}: the file holds no interactions")
    return interactions


def _read_ml_1m(path: Path, columns: Columns, bad_rows: BadRows) -> tuple[TextTable, Columns]:
    content = _text(path, bad_rows, "a file of user::item::rating::timestamp rows").replace(b"::", b"\x1f")
    return parse_delimited(content, _RATING_NAMES, _UNIT_SEPARATOR, bad_rows), _COLUMNS


def _read_ml_100k(path: Path, columns: Columns, bad_rows: BadRows) -> tuple[TextTable, Columns]:
    content = _text(path, bad_rows, "a file of tab-separated user, item, rating, timestamp rows")
    return parse_delimited(content, _RATING_NAMES, "\t", bad_rows), _COLUMNS


def _read_sasrec(path: Path, columns: Columns, bad_rows: BadRows) -> tuple[TextTable, Columns]:
    content = _text(path, bad_rows, "a file of `user item` rows")
    delimiter = "\t" if b"\t" in content.split(b"\n", 1)[0] else " "
    return parse_delimited(content, _RATING_NAMES[:2], delimiter, bad_rows), _COLUMNS


def _read_csv(path: Path, columns: Columns, bad_rows: BadRows) -> tuple[TextTable, Columns]:
    content = _text(path, bad_rows, "a csv file with a header line")
    bad_rows.check_header()
    _check_columns(header_of(content)[0], columns, f"{path}:1")
    return parse_csv(content, bad_rows), columns


def _read_parquet(path: Path, columns: Columns, bad_rows: BadRows) -> tuple[TextTable, Columns]:
    content = read_bytes(path, "a parquet file")

    def wanted(names: list[str]) -> list[str]:
        _check_columns(names, columns, str(path))
        return [name for name in (columns.user, columns.item, columns.timestamp) if name in names]

    table = read_parquet(content, path, wanted)
    return TextTable(table, np.arange(1, table.num_rows + 1)), columns


_READERS: dict[str, Callable[[Path, Columns, BadRows], tuple[TextTable, Columns]]] = {
    "movielens-1m": _read_ml_1m,
    "movielens-100k": _read_ml_100k,
    "movielens-csv": _read_csv,
    "sasrec": _read_sasrec,
    "csv": _read_csv,
    "parquet": _read_parquet,
}


def _text(path: Path, bad_rows: BadRows, expected: str) -> bytes:
    return text_lines_only(read_bytes(path, expected), bad_rows)


def _check_columns(names: list[str], columns: Columns, where: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{where}: the column {repeated[0]!r} stands twice in the header; remove one")
    required = [columns.user, columns.item, *([] if columns.timestamp_is_optional else [columns.timestamp])]
    for name in required:
        if name not in names:
            raise DataError(
                f"{where}: there is no column {name!r} (found: {', '.join(names)}); name the one that holds "
                "it by --user-column, --item-column or --timestamp-column"
            )
    if columns.timestamp not in names:
        _log.warning("%s: no column %r, the order of the rows is taken as the order in time", where, columns.timestamp)


def _to_interactions(parsed: TextTable, columns: Columns, bad_rows: BadRows) -> Interactions:
    usable = np.ones(parsed.table.num_rows, dtype=bool)
    ids = [_clean_ids(parsed.table.column(name), name) for name in (columns.user, columns.item)]
    for column, name in zip(ids, (columns.user, columns.item), strict=True):
        missing = np.asarray(pc.is_null(column))
        usable &= ~missing
        for line in parsed.lines[missing]:
            bad_rows.add(int(line), f"there is no {name}")
    timestamps, valid = _timestamps(parsed, columns.timestamp, bad_rows)
    usable &= valid
    users, items = (_strings(column.filter(pa.array(usable))) for column in ids)
    numbered = columns.timestamp not in parsed.table.column_names
    return Interactions(users, items, timestamps[usable], rows_skipped=len(bad_rows), numbered=numbered)


def _clean_ids(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Ids as text without surrounding blanks; null where there is none."""
    if pa.types.is_nested(column.type):
        raise DataError(f"the column {name!r} holds values of type {column.type}; ids are numbers or texts")
    if pa.types.is_floating(column.type):
        # Whole numbers beside a missing one come as floats from many tools: 12.0 is the id 12.
        column = pc.if_else(pc.is_nan(column), None, column)
        whole = pc.all(pc.equal(column, pc.floor(column))).as_py()
        column = column.cast(pa.int64()) if whole else column
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.is_in(pc.utf8_lower(text), value_set=_MISSING), None, text)


def _strings(column: pa.ChunkedArray) -> StrArray:
    """Python strings, one object per distinct id however often it occurs."""
    encoded = column.combine_chunks().dictionary_encode()
    distinct = np.array([*encoded.dictionary.to_pylist(), ""], dtype=object)[:-1]
    codes: StrArray = distinct[encoded.indices.to_numpy()]
    return codes


def _timestamps(parsed: TextTable, name: str, bad_rows: BadRows) -> tuple[NumericArray, np.ndarray]:
    """Times [n] and which of them are numbers [n]; row numbers where the table has none."""
    if name not in parsed.table.column_names:
        n = parsed.table.num_rows
        return np.arange(n, dtype=np.int64), np.ones(n, dtype=bool)
    column = parsed.table.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    values = _as_numbers(column)
    valid = np.isfinite(values)
    if len(values) and not valid.any():
        values = _as_dates(column)
        valid = np.isfinite(values)
    for row in np.flatnonzero(~valid):
        reason = f"the timestamp {column[row].as_py()!r} is neither a number (seconds since 1970) nor an ISO 8601 date"
        bad_rows.add(int(parsed.lines[row]), reason)
    return values, valid


def _as_dates(column: pa.ChunkedArray) -> NumericArray:
    """ISO 8601 dates and times as seconds since 1970 in UTC, NaN for what is none."""
    dates = pd.to_datetime(column.cast(pa.string()).to_pandas(), format="ISO8601", utc=True, errors="coerce")
    return np.asarray((dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds(), dtype=np.float64)


def _as_numbers(column: pa.ChunkedArray) -> NumericArray:
    """64-bit integers if every value is one, else floats with NaN for what is no number."""
    try:
        if column.null_count == 0 and not pa.types.is_floating(column.type):
            return np.asarray(column.cast(pa.int64()), dtype=np.int64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # some value is no whole number: the floats below find out which
    return np.asarray(pd.to_numeric(column.to_pandas(), errors="coerce"), dtype=np.float64)
