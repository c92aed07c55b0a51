"""Delimited text to columns of strings, each row with its line number; rows of the wrong width are noted as bad."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from fedmem.data.formats.bad_rows import BadRows

# The parser's size is a 32-bit number.
_LARGEST_BLOCK = 2**30

LineNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TextTable:
    """n rows as an arrow table and the line in the file of each [n]."""

    table: pa.Table
    lines: LineNumbers


def header_of(content: bytes) -> tuple[list[str], str]:
    """Column names in the first line, and the delimiter it uses: a comma, else a tab, else a semicolon."""
    first = re.split(rb"[\r\n]", content, maxsplit=1)[0].decode(errors="replace")
    delimiter = next((sign for sign in ",\t;" if sign in first), ",")
    try:
        names = next(csv.reader([first], delimiter=delimiter), [])
    except csv.Error:
        names = []  # a line too long for names: the columns that are looked for will be missing
    return [name.strip() for name in names], delimiter


def parse_delimited(content: bytes, names: Sequence[str], delimiter: str, bad_rows: BadRows) -> TextTable:
    """Parse text without a header and without quoting into one string column per name."""
    return _parse_unquoted(content, names, delimiter, bad_rows, skip=0)


def parse_csv(content: bytes, bad_rows: BadRows) -> TextTable:
    """Parse text with a header line; a quoted value may hold the delimiter, but no line end."""
    names, delimiter = header_of(content)
    if b'"' in content:
        return _parse_quoted(content, names, delimiter, bad_rows)
    return _parse_unquoted(content, names, delimiter, bad_rows, skip=1)


def _parse_unquoted(content: bytes, names: Sequence[str], delimiter: str, bad_rows: BadRows, skip: int) -> TextTable:
    misshapen: list[int] = []

    def note(row: pa.csv.InvalidRow) -> str:
        misshapen.append(row.number)
        bad_rows.add(row.number, wrong_width(row.actual_columns, row.expected_columns))
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
    return _without_blank_lines(TextTable(table, np.setdiff1d(every_line, misshapen, assume_unique=True)))


def _parse_quoted(content: bytes, names: Sequence[str], delimiter: str, bad_rows: BadRows) -> TextTable:
    numbered = list(_quoted_rows(content, len(names), delimiter, bad_rows))
    columns = list(zip(*(row for _, row in numbered), strict=True)) or [()] * len(names)
    table = pa.table([pa.array(column, pa.string()) for column in columns], names=list(names))
    return TextTable(table, np.array([line for line, _ in numbered], dtype=np.int64))


def _quoted_rows(content: bytes, width: int, delimiter: str, bad_rows: BadRows) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(content.decode().split("\n")[1:], start=2):
        try:
            row = next(csv.reader([line.rstrip("\r")], delimiter=delimiter, strict=True), [])
        except csv.Error:
            bad_rows.add(number, "a quoted value does not end on this line")
            continue
        if len(row) == width:
            yield number, row
        elif row:
            bad_rows.add(number, wrong_width(len(row), width))


def _without_blank_lines(parsed: TextTable) -> TextTable:
    """Blank lines (among them those emptied because they are no text) come out of the parser as empty rows."""
    filled = np.zeros(parsed.table.num_rows, dtype=bool)
    for column in parsed.table.columns:
        filled |= np.asarray(pc.not_equal(column, ""))
    if filled.all():
        return parsed
    return TextTable(parsed.table.filter(pa.array(filled)), parsed.lines[filled])


def wrong_width(found: int, expected: int) -> str:
    """What is said of a row with too few or too many fields."""
    return f"the row has {found} field{'' if found == 1 else 's'} where {expected} are expected"
