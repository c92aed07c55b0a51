"""JSON lines and JSON arrays, read as they stream: memory holds a batch of rows, whatever the size of the file."""

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ijson

from fedmem.data.formats.bad_rows import NO_TEXT, BadRows
from fedmem.data.formats.opening import damaged, opened
from fedmem.data.formats.raw_text import mark_of
from fedmem.data.formats.table import Batch, Wanted, in_batches
from fedmem.errors import DataError
from fedmem.identifiers import shown

# Rows of a batch. The columns of a file are the keys of its first batch.
BATCH = 20_000

Rows = Iterator[tuple[int, dict[str, Any]]]


def read_json_lines(path: Path, wanted: Wanted, bad_rows: BadRows) -> Iterator[Batch]:
    """Batches of the wanted columns of a file with a JSON object on each line; a line that is none is a bad row."""
    with opened(path, "a file with a JSON object on each line") as file:
        yield from _batches(_lines(_as_utf8(file), bad_rows), path, wanted, f"{path}:1")


def read_json_array(path: Path, wanted: Wanted, bad_rows: BadRows) -> Iterator[Batch]:
    """Batches of the wanted columns of a file that is one JSON array of objects."""
    with opened(path, "a JSON array of objects") as file:
        yield from _batches(_elements(_as_utf8(file), path, bad_rows), path, wanted, str(path))


def _as_utf8(file: IO[bytes]) -> io.TextIOWrapper:
    """The text of a file; JSON is UTF-8, unless a byte order mark says otherwise."""
    buffered = io.BufferedReader(file)  # type: ignore[type-var]
    encoding, mark = mark_of(buffered.peek(4)[:4])
    buffered.read(len(mark))
    # Bytes that are no UTF-8 become half characters, which no id may hold.
    return io.TextIOWrapper(buffered, encoding or "utf-8", errors="surrogateescape", newline="\n")


def _batches(rows: Rows, path: Path, wanted: Wanted, where: str) -> Iterator[Batch]:
    first = list(itertools.islice(rows, BATCH))
    if not first:
        return
    names = list(dict.fromkeys(name for _, row in first for name in row))
    picked = wanted.pick(names, where)
    late = wanted.candidates - set(names)
    known = itertools.chain(first, _without(late, rows, path))
    yield from in_batches(known, picked, BATCH, path)


def _without(late: frozenset[str] | set[str], rows: Rows, path: Path) -> Rows:
    """The rows behind the first batch, none of which may hold a column that would have been read had it been there."""
    for number, row in rows:
        if not late.isdisjoint(row):
            name = sorted(late & row.keys())[0]
            raise DataError(
                f"{path}:{number}: the key {name!r} is new, no row before has it; give it to the first rows too (null)"
            )
        yield number, row


def _lines(file: io.TextIOWrapper, bad_rows: BadRows) -> Rows:
    for number, line in enumerate(file, start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad_rows.add(number, f"the line {shown(line.strip())} is no JSON object ({error})", NO_TEXT)
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            bad_rows.add(number, f"the line {shown(line.strip())} is no JSON object", NO_TEXT)


class _Encoded:
    """A text file as the bytes of its UTF-8, which the parser takes."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """The next characters."""
        return self._file.read(size).encode(errors="replace")


def _elements(file: io.TextIOWrapper, path: Path, bad_rows: BadRows) -> Rows:
    try:
        for number, row in enumerate(ijson.items(_Encoded(file), "item"), start=1):
            if isinstance(row, dict):
                yield number, row
            else:
                bad_rows.add(number, f"the element {shown(row)} is no JSON object", NO_TEXT)
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise damaged(path, "a JSON array", error) from error
