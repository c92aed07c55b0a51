"""Rows of a text table with quoted values, by RFC 4180: a line within quotes never becomes a row."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from fedmem.data.formats.tables.bad_rows import NO_TEXT, BadRows
from fedmem.data.formats.tables.raw_text import why_undecoded
from fedmem.errors import DataError

_QUOTES = "broken quotes"
# The library's own limit is 128 KiB for one value; a review may be longer.
csv.field_size_limit(2**31 - 1)


def quoted_rows(
    content: bytes, delimiter: str, bad_rows: BadRows, path: Path, skip: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the number of their first line, without empty ones and the first ``skip`` lines.

    A row with broken quotes, or with bytes that are no UTF-8, is noted as bad, with every line that it takes in.
    ``DataError`` if a quoted value does not end before the file does: no row behind its beginning can be told from it.
    """
    text = content.decode(errors="surrogateescape")
    lines = list(io.StringIO(text, newline="\n"))
    whole = why_undecoded(text) is None
    begin = skip
    while begin < len(lines):
        reader = csv.reader((lines[index] for index in range(begin, len(lines))), delimiter=delimiter, strict=True)
        first = begin
        try:
            for row in reader:
                decoded = whole or not _note_undecoded(lines, first, begin + reader.line_num, bad_rows)
                if decoded and any(row):
                    yield first + 1, row
                first = begin + reader.line_num
            return
        except csv.Error as error:
            begin = _behind(lines, first, delimiter, path)
            for line in range(first, begin):
                bad_rows.add(line + 1, _reason(error, first), _QUOTES)


def _note_undecoded(lines: list[str], first: int, end: int, bad_rows: BadRows) -> bool:
    """Note the row as bad if a byte of its lines is not UTF-8; say whether there is one."""
    reason = why_undecoded("".join(lines[first:end]))
    if reason is None:
        return False
    bad_rows.add(first + 1, reason, NO_TEXT)
    return True


def _behind(lines: list[str], first: int, delimiter: str, path: Path) -> int:
    """Find the first line after a row that cannot be read.

    A reader that forgives everything would go on there, and it is not before every quote has its twin.
    """
    rest = (lines[index].replace("\r", " ") for index in range(first, len(lines)))
    forgiving = csv.reader((line for part in (rest, ["\n"]) for line in part), delimiter=delimiter)
    next(forgiving)
    end = first + forgiving.line_num
    quotes = sum(line.count('"') for line in lines[first:end])
    while quotes % 2 and end <= len(lines):
        quotes += lines[end].count('"') if end < len(lines) else 0
        end += 1
    if end > len(lines):
        raise DataError(
            f"{path}:{first + 1}: a quoted value begins in this row and does not end before the file does, so that no "
            "later row can be told from it; mend the quotes"
        )
    return end


def _reason(error: csv.Error, first: int) -> str:
    if "new-line" in str(error):
        return "the byte 0x0d stands within the row (a carriage return without a line end)"
    return f"the quotes of the row that begins on line {first + 1} are broken ({error})"
