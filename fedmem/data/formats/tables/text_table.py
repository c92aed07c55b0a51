"""Delimited text to columns of strings, each row with its line number; rows of the wrong width are noted as bad."""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fedmem.data.formats.tables.bad_rows import WIDTH, BadRows
from fedmem.data.formats.tables.quoted_rows import quoted_rows
from fedmem.data.formats.tables.raw_text import is_text, read_text, text_lines_only
from fedmem.data.formats.tables.table import Batch, ColumnSelection
from fedmem.errors import DataError

# The parser's size is a 32-bit number.
_LARGEST_BLOCK = 2**30
_USUAL_DELIMITERS = (",", "\t", ";", "|")
_SEPARATES = re.compile(r"[^\w\s\"'.-]|\t")
# A line that holds nothing, as spreadsheets leave them above the header.
_EMPTY_LINE = re.compile(rb"[ \t,;|]*\r?\n")
# The first line of a file by which a spreadsheet says its delimiter.
_DELIMITER_LINE = re.compile(rb'"?sep=([^\r\n"])"?\r?\n', re.IGNORECASE)


def read_csv(path: Path, encoding: str, wanted: ColumnSelection, bad_rows: BadRows) -> Iterator[Batch]:
    """Read a text table, names in its first line, as one batch; a quoted value may hold delimiters and line ends."""
    content = read_text(path, "a csv file with a header line", encoding)
    told = _DELIMITER_LINE.match(content)
    begin = _header_at(content, told.end() if told else 0)
    skip = content.count(b"\n", 0, begin) + 1
    header = content[begin:]
    first = header.split(b"\n", 1)[0]
    if not is_text(first):
        raise DataError(
            f"{path}:{skip}: the header with the column names was expected there, and it is no UTF-8 text (binary data "
            "or another encoding); if it is text, give its --encoding"
        )
    names, delimiter = header_of(header, wanted.candidates)
    if told:
        delimiter = told[1].decode()
        names = _split(first.decode(), delimiter)
    wanted.pick(names, f"{path}:{skip}")
    if b'"' in content:
        yield _parse_quoted(content, names, delimiter, bad_rows, path, skip)
    else:
        yield parse_delimited(text_lines_only(content, bad_rows), names, delimiter, bad_rows, path, skip)


def _header_at(content: bytes, begin: int) -> int:
    """Find where the first line begins that holds anything."""
    while found := _EMPTY_LINE.match(content, begin):
        begin = found.end()
    return begin


def header_of(content: bytes, wanted: Collection[str] = ()) -> tuple[list[str], str]:
    """Return the column names in the first line, and the delimiter between them.

    That is the one by which most of the wanted names are found, among equals the usual one that makes the most names.
    """
    first = re.split(rb"[\r\n]", content, maxsplit=1)[0].decode(errors="replace")
    others = sorted(set(_SEPARATES.findall(first)) - set(_USUAL_DELIMITERS))
    splits = [(_split(first, delimiter), delimiter) for delimiter in (*_USUAL_DELIMITERS, *others)]

    def fit(split: tuple[list[str], str]) -> tuple[int, int]:
        names, delimiter = split
        return len(set(wanted) & set(names)), len(names) if delimiter in _USUAL_DELIMITERS else 0

    return max(splits, key=fit)


def _split(line: str, delimiter: str) -> list[str]:
    try:
        names = next(csv.reader([line.rstrip("\r")], delimiter=delimiter), [])
        return [name.strip() or f"column {number}" for number, name in enumerate(names, start=1)]
    except csv.Error:
        return []  # a line too long for names: the columns that are looked for will be missing


def parse_delimited(
    content: bytes, names: Sequence[str], delimiter: str, bad_rows: BadRows, path: Path, skip: int = 0
) -> Batch:
    """Parse lines of text without quoting, behind the first ``skip``, into one string column per name."""
    misshapen: list[int] = []

    def note(row: pa.csv.InvalidRow) -> str:
        misshapen.append(row.number)
        bad_rows.add(row.number, wrong_width(row.actual_columns, row.expected_columns), WIDTH)
        return "skip"

    table = pa.csv.read_csv(
        pa.BufferReader(content),
        # One thread: only then does the parser know the line number of a bad row. One block: a line of any length fits.
        read_options=pa.csv.ReadOptions(
            column_names=list(names),
            skip_rows=skip,
            use_threads=False,
            block_size=min(len(content) + 1, _LARGEST_BLOCK),
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter, quote_char=False, ignore_empty_lines=False, invalid_row_handler=note
        ),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    every_line = np.arange(skip + 1, skip + 1 + table.num_rows + len(misshapen))
    lines = np.setdiff1d(every_line, misshapen, assume_unique=True)
    filled = _filled(table)
    columns = {name: table[name].filter(pa.array(filled)) for name in table.column_names}
    return Batch(columns, lines[filled], path, untyped=True)


def _filled(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Mark the filled rows: blank lines (also those emptied because they are not text) come out of the parser empty."""
    filled = np.zeros(table.num_rows, dtype=bool)
    for column in table.columns:
        filled |= np.asarray(pc.not_equal(column, ""))
    return filled


def _parse_quoted(
    content: bytes, names: Sequence[str], delimiter: str, bad_rows: BadRows, path: Path, skip: int
) -> Batch:
    lines: list[int] = []
    columns: list[list[str]] = [[] for _ in names]
    for line, row in quoted_rows(content, delimiter, bad_rows, path, skip):
        if len(row) != len(names):
            bad_rows.add(line, wrong_width(len(row), len(names)), WIDTH)
            continue
        lines.append(line)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    arrays = {name: _strings(column) for name, column in zip(names, columns, strict=True)}
    return Batch(arrays, np.array(lines, dtype=np.int64), path, untyped=True)


def _strings(values: list[str]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.large_string())])


def wrong_width(found: int, expected: int) -> str:
    """Word the error for a row with too few or too many fields."""
    return f"the row has {found} field{'' if found == 1 else 's'} where {expected} are expected"
