"""Tables with named columns, whatever the format: csv, parquet, JSON lines, JSON arrays, Excel workbooks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedmem.data.formats.tables.bad_rows import BadRows
from fedmem.data.formats.tables.excel_table import read_workbook
from fedmem.data.formats.tables.json_table import read_json_array, read_json_lines
from fedmem.data.formats.tables.opening import read_bytes
from fedmem.data.formats.tables.parquet_table import read_parquet
from fedmem.data.formats.tables.raw_text import as_utf8
from fedmem.data.formats.tables.table import Batch, ColumnSelection
from fedmem.data.formats.tables.text_table import read_csv

_HEAD = 65_536


@dataclass(frozen=True)
class TableFormat:
    """A format of tables with named columns.

    Attributes:
        read: gives the wanted columns of a file in batches; is told the encoding, and notes the bad rows.
        starts: the first bytes of such a file, one of these; none for text.
        has_lines: whether a row is named by the number of its line.
    """

    read: Callable[[Path, str, ColumnSelection, BadRows], Iterator[Batch]]
    starts: tuple[bytes, ...] = ()
    has_lines: bool = True


def binary(read: Callable[[Path, ColumnSelection], Iterator[Batch]], *starts: bytes) -> TableFormat:
    """Make a format of a reader that knows no encodings and no bad rows, and of the first bytes of its files."""
    return TableFormat(lambda path, encoding, wanted, bad_rows: read(path, wanted), starts, has_lines=False)


# By the name that ``--format`` has for it, which is also the suffix of the files that are looked for in a folder.
TABLE_FORMATS: Mapping[str, TableFormat] = {
    "csv": TableFormat(read_csv),
    "parquet": binary(read_parquet, b"PAR1"),
    "jsonl": TableFormat(read_json_lines),
    "json": TableFormat(read_json_array, has_lines=False),
    "xlsx": binary(read_workbook, b"PK\x03\x04", b"\xd0\xcf\x11\xe0"),  # and the workbooks before 2007
}


def read_table(path: Path, format: str, encoding: str, wanted: ColumnSelection, bad_rows: BadRows) -> Iterator[Batch]:
    """Read the wanted columns of a file, or of a folder of parquet parts, some rows at a time."""
    return TABLE_FORMATS[format].read(path, encoding, wanted, bad_rows)


def unit_of_rows(format: str) -> str:
    """Return what precedes a row's number in a message."""
    return "" if format not in TABLE_FORMATS or TABLE_FORMATS[format].has_lines else "row "


def sniff(path: Path, expected: str, encoding: str = "auto") -> tuple[str | None, bytes]:
    """Return the format that a file's first bytes reveal, None for delimited text; and its first 64 KiB, as UTF-8."""
    if path.is_dir():
        return "parquet", b""
    head = read_bytes(path, expected, _HEAD)
    for name, format in TABLE_FORMATS.items():
        if head.startswith(format.starts):
            return name, head
    text, _ = as_utf8(head, encoding, errors="ignore")
    return _json_kind(text), text


def _json_kind(head: bytes) -> str | None:
    compact = b"".join(head[:200].split())
    if compact.startswith(b"{"):
        return "jsonl"
    return "json" if compact[:2] in (b"[{", b"[]") else None
