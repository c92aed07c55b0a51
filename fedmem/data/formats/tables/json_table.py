"""JSON lines and JSON arrays, read as they stream: memory holds a batch of rows, whatever the size of the file."""

import io
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from fedmem.data.formats.tables.bad_rows import NO_TEXT, BadRows
from fedmem.data.formats.tables.json_array import (
    DECODER,
    THOUSANDS_OF_DIGITS,
    TOO_DEEP,
    BrokenArrayError,
    JsonArray,
    KeyTwiceError,
)
from fedmem.data.formats.tables.opening import damaged, opened
from fedmem.data.formats.tables.raw_text import mark_of, why_undecoded
from fedmem.data.formats.tables.table import Batch, ColumnSelection
from fedmem.errors import DataError
from fedmem.identifiers import shown

# Rows of a batch. The columns of a file are the keys of its first batch.
BATCH = 20_000

Row = dict[str, Any]
# Row numbers and rows, some at a time.
Blocks = Iterator[tuple[list[int], list[Row]]]


def read_json_lines(path: Path, encoding: str, wanted: ColumnSelection, bad_rows: BadRows) -> Iterator[Batch]:
    """Read the wanted columns, in batches, of a file with a JSON object on each line; any other line is a bad row."""
    with _text(path, "a file with a JSON object on each line", encoding) as text:
        yield from _batches(_lines(text, bad_rows), path, wanted, f"{path}:1")


def read_json_array(path: Path, encoding: str, wanted: ColumnSelection, bad_rows: BadRows) -> Iterator[Batch]:
    """Read the wanted columns, in batches, of a file that is one JSON array; other elements are bad rows."""
    with _text(path, "a JSON array of objects", encoding) as text:
        yield from _batches(_elements(text, path, bad_rows), path, wanted, str(path))


@contextmanager
def _text(path: Path, expected: str, encoding: str) -> Iterator[io.TextIOWrapper]:
    """Open a file as text; JSON is UTF-8, unless a byte order mark or ``encoding`` says otherwise."""
    with opened(path, expected) as file:
        marked, mark = mark_of(cast(Any, file).peek(4)[:4])
        file.read(len(mark))
        told = "utf-8" if encoding == "auto" else encoding
        # Bytes that do not decode become half characters, by which their row is known to be bad.
        text = io.TextIOWrapper(file, marked or told, errors="surrogateescape", newline="\n")
        try:
            yield text
        except UnicodeError as error:  # of encodings that have no half characters, or want a mark
            raise damaged(path, f"text in {marked or told}", error) from error
        finally:
            text.detach()


def _batches(blocks: Blocks, path: Path, wanted: ColumnSelection, where: str) -> Iterator[Batch]:
    picked: list[str] | None = None
    late: frozenset[str] = frozenset()
    for numbers, rows in blocks:
        if picked is None:
            names = list(dict.fromkeys(name for row in rows for name in row))
            picked, late = wanted.pick(names, where), wanted.candidates.difference(names)
        _check_late(late, numbers, rows, path)
        columns = {name: [row.get(name) for row in rows] for name in picked}
        unsaid = {name: _without(name, rows) for name, column in columns.items() if None in column}
        yield Batch(columns, np.array(numbers, dtype=np.int64), path, unsaid=unsaid)


def _without(name: str, rows: list[Row]) -> frozenset[int]:
    return frozenset(place for place, row in enumerate(rows) if name not in row)


def _check_late(late: frozenset[str], numbers: list[int], rows: list[Row], path: Path) -> None:
    """Raise ``DataError`` if a row has a column that would have been read, had the first block had it."""
    for number, row in zip(numbers, rows, strict=True) if late else ():
        if not late.isdisjoint(row):
            name = sorted(late & row.keys())[0]
            raise DataError(
                f"{path}:{number}: the key {name!r} is new, no row before has it; give it to the first rows too (null)"
            )


def _lines(file: io.TextIOWrapper, bad_rows: BadRows) -> Blocks:
    numbered = enumerate(file, start=1)
    while block := list(itertools.islice(numbered, BATCH)):
        filled = [(number, line) for number, line in block if not line.isspace()]
        rows = _rows_at_once([line for _, line in filled])
        if rows is None:
            filled, rows = _rows_one_by_one(filled, bad_rows)
        if rows:
            yield [number for number, _ in filled], rows


def _rows_at_once(lines: list[str]) -> list[Row] | None:
    """Parse lines that are all objects, twice as fast as one by one; None if any is not."""
    joined = ",".join(lines)
    try:
        rows = None if why_undecoded(joined) else DECODER.decode(f"[{joined}]")
    except (ValueError, RecursionError):
        return None
    return rows if rows and len(rows) == len(lines) and all(type(row) is dict for row in rows) else None


def _rows_one_by_one(numbered: list[tuple[int, str]], bad_rows: BadRows) -> tuple[list[tuple[int, str]], list[Row]]:
    """Return the lines that are objects, and the objects; the other lines are noted as bad."""
    kept, rows = [], []
    for number, line in numbered:
        row, why = _decoded(line)
        if _is_row(row, line, why, number, "line", bad_rows):
            kept.append((number, line))
            rows.append(row)
    return kept, rows


def _decoded(line: str) -> tuple[Any, str]:
    """Give the value of a line, and why it has none, empty if it has one."""
    try:
        return DECODER.decode(line), ""
    except json.JSONDecodeError as error:
        return None, str(error)
    except RecursionError:
        return None, TOO_DEEP
    except KeyTwiceError as error:
        return None, str(error)
    except ValueError:
        return None, THOUSANDS_OF_DIGITS


def _is_row(row: Any, text: str, why: str, number: int, what: str, bad_rows: BadRows) -> bool:
    """Tell whether a line or an element is an object of text; note it as bad if not."""
    undecoded = why_undecoded(text)
    if undecoded is None and isinstance(row, dict):
        return True
    reason = f"the {what} {shown(text.strip())} is no JSON object{f' ({why})' if why else ''}"
    bad_rows.add(number, undecoded or reason, NO_TEXT)
    return False


def _elements(file: io.TextIOWrapper, path: Path, bad_rows: BadRows) -> Blocks:
    numbered = enumerate(JsonArray(file), start=1)
    try:
        while block := list(itertools.islice(numbered, BATCH)):
            kept = [
                (number, row)
                for number, (row, text, why) in block
                if _is_row(row, text, why, number, "element", bad_rows)
            ]
            if kept:
                yield [number for number, _ in kept], [row for _, row in kept]
    except BrokenArrayError as error:
        raise damaged(path, "a JSON array", error) from error
