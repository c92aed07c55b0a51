"""Tables with named columns, whatever the format: csv, parquet, JSON lines, JSON arrays, Excel workbooks."""

from collections.abc import Iterator
from pathlib import Path

from fedmem.data.formats.bad_rows import BadRows
from fedmem.data.formats.excel_table import read_workbook
from fedmem.data.formats.json_table import read_json_array, read_json_lines
from fedmem.data.formats.opening import HEAD, opened
from fedmem.data.formats.parquet_table import read_parquet
from fedmem.data.formats.raw_text import as_utf8
from fedmem.data.formats.table import Batch, Wanted
from fedmem.data.formats.text_table import read_csv
from fedmem.errors import DataError

TABLE_FORMATS = ("csv", "parquet", "jsonl", "json", "xlsx")
# A row of these has a number, not a line.
_WITHOUT_LINES = ("parquet", "json", "xlsx")
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"


def read_table(path: Path, format: str, encoding: str, wanted: Wanted, bad_rows: BadRows) -> Iterator[Batch]:
    """Read the wanted columns of a file, or of a folder of parquet parts, some rows at a time."""
    if format == "parquet":
        return read_parquet(path, wanted)
    if format == "xlsx":
        return read_workbook(path, wanted)
    if format == "jsonl":
        return read_json_lines(path, encoding, wanted, bad_rows)
    if format == "json":
        return read_json_array(path, encoding, wanted, bad_rows)
    return read_csv(path, encoding, wanted, bad_rows)


def unit_of_rows(format: str) -> str:
    """Return what precedes a row's number in a message."""
    return "row " if format in _WITHOUT_LINES else ""


def sniff(path: Path, expected: str, encoding: str = "auto") -> tuple[str | None, bytes]:
    """Return the format that a file's first bytes reveal, None for delimited text; and its first 64 KiB, as UTF-8."""
    if path.is_dir():
        return "parquet", b""
    with opened(path, expected) as file:
        head = file.read(HEAD)
    if not head.strip():
        raise DataError(f"{path}: the file is empty; {expected} was expected")
    if head.startswith(b"PAR1"):
        return "parquet", head
    if head.startswith(_OLD_WORKBOOK) or head.startswith(b"PK\x03\x04"):
        return "xlsx", head
    text, _ = as_utf8(head, encoding, errors="ignore")
    return _json_kind(text), text


def _json_kind(head: bytes) -> str | None:
    compact = b"".join(head[:200].split())
    if compact.startswith(b"{"):
        return "jsonl"
    return "json" if compact[:2] in (b"[{", b"[]") else None
