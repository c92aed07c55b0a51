"""JSON lines and JSON arrays, read as they stream: memory holds a batch of rows, whatever the size of the file."""

import io
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import ijson
import numpy as np

from fedmem.data.formats.bad_rows import NO_TEXT, BadRows
from fedmem.data.formats.opening import damaged, opened
from fedmem.data.formats.raw_text import mark_of
from fedmem.data.formats.table import Batch, Wanted
from fedmem.errors import DataError
from fedmem.identifiers import shown

# Rows of a batch. The columns of a file are the keys of its first batch.
BATCH = 20_000

Row = dict[str, Any]
# Row numbers and rows, some at a time.
Blocks = Iterator[tuple[list[int], list[Row]]]


def read_json_lines(path: Path, wanted: Wanted, bad_rows: BadRows) -> Iterator[Batch]:
    """Read the wanted columns, in batches, of a file with a JSON object on each line; any other line is a bad row."""
    with _text(path, "a file with a JSON object on each line") as text:
        yield from _batches(_lines(text, bad_rows), path, wanted, f"{path}:1")


def read_json_array(path: Path, wanted: Wanted, bad_rows: BadRows) -> Iterator[Batch]:
    """Read the wanted columns, in batches, of a file that is one JSON array of objects."""
    with _text(path, "a JSON array of objects") as text:
        yield from _batches(_elements(text, path, bad_rows), path, wanted, str(path))


@contextmanager
def _text(path: Path, expected: str) -> Iterator[io.TextIOWrapper]:
    """Open a file as text; JSON is UTF-8, unless a byte order mark says otherwise."""
    with opened(path, expected) as file:
        encoding, mark = mark_of(cast(Any, file).peek(4)[:4])
        file.read(len(mark))
        # Bytes that are no UTF-8 become half characters, which no id may hold.
        text = io.TextIOWrapper(file, encoding or "utf-8", errors="surrogateescape", newline="\n")
        try:
            yield text
        finally:
            text.detach()


def _batches(blocks: Blocks, path: Path, wanted: Wanted, where: str) -> Iterator[Batch]:
    picked: list[str] | None = None
    late: frozenset[str] = frozenset()
    for numbers, rows in blocks:
        if picked is None:
            names = list(dict.fromkeys(name for row in rows for name in row))
            picked, late = wanted.pick(names, where), wanted.candidates.difference(names)
        _check_late(late, numbers, rows, path)
        columns = {name: [row.get(name) for row in rows] for name in picked}
        yield Batch(columns, np.array(numbers, dtype=np.int64), path)


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
    try:
        rows = json.loads(f"[{','.join(lines)}]")
    except (ValueError, RecursionError):
        return None
    return rows if len(rows) == len(lines) and all(type(row) is dict for row in rows) else None


def _rows_one_by_one(numbered: list[tuple[int, str]], bad_rows: BadRows) -> tuple[list[tuple[int, str]], list[Row]]:
    """Return the lines that are objects, and the objects; the other lines are noted as bad."""
    kept, rows = [], []
    for number, line in numbered:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad_rows.add(number, f"the line {shown(line.strip())} is no JSON object ({_why(error)})", NO_TEXT)
            continue
        if isinstance(row, dict):
            kept.append((number, line))
            rows.append(row)
        else:
            bad_rows.add(number, f"the line {shown(line.strip())} is no JSON object", NO_TEXT)
    return kept, rows


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return str(error)
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a number has thousands of digits"


class _Encoded:
    """A text file as the bytes of its UTF-8, which the parser takes."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Read the next characters."""
        return self._file.read(size).encode(errors="surrogateescape")


def _elements(file: io.TextIOWrapper, path: Path, bad_rows: BadRows) -> Blocks:
    numbered = enumerate(ijson.items(_Encoded(file), "item"), start=1)
    try:
        while block := list(itertools.islice(numbered, BATCH)):
            for number, row in block:
                if not isinstance(row, dict):
                    bad_rows.add(number, f"the element {shown(row)} is no JSON object", NO_TEXT)
            kept = [(number, row) for number, row in block if isinstance(row, dict)]
            if kept:
                yield [number for number, _ in kept], [row for _, row in kept]
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise damaged(path, "a JSON array", error) from error
