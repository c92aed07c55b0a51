"""One table in every form that is read: format × encoding × separator × packing × type of ids × form of times."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS = ("user_id", "item_id", "timestamp", "note")
# What a reader must not take for rows or columns.
NOTE = 'liked "it",\nuX,iX,7;uY;iY;8\n\tand more'

Row = tuple[int, int, int]  # numbers that stand for a user, an item, and seconds since 1970

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
    ".zip": lambda content: _zipped(content),
}

IDS: dict[str, Callable[[int], Any]] = {
    "text": lambda number: "é;,|\t\"'"[number % 3] + f' Zoë {number} x"y',
    "digits": lambda number: f"00{number}",
    "int": lambda number: number,
    "float": float,
    "uuid": lambda number: uuid.UUID(int=number + 2**100),
    "bytes": lambda number: f"ü{number}".encode(),
}

TIMES: dict[str, Callable[[int], Any]] = {
    "seconds": lambda seconds: seconds,
    "milliseconds": lambda seconds: seconds * 1000,
    "iso": lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat(),
    "days first": lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%d.%m.%Y %H:%M:%S"),
    "moments": lambda seconds: datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None),
}


@dataclass(frozen=True)
class Form:
    """How a table is written."""

    format: str
    ids: str
    times: str
    packing: str = ""
    encoding: str = "utf-8"
    separator: str = ","

    @property
    def options(self) -> dict[str, str]:
        """What a reader is told of it; the rest it finds out."""
        return {"date_format": "%d.%m.%Y %H:%M:%S"} if self.times == "days first" else {}

    def expected(self, rows: list[Row]) -> list[tuple[str, str, float]]:
        """The rows as they are to be read."""
        return [(self._id(user), self._id(item), float(seconds)) for user, item, seconds in rows]

    def _id(self, number: int) -> str:
        value = IDS[self.ids](number)
        if isinstance(value, bytes):
            return value.decode()
        return str(int(value)) if isinstance(value, float) else str(value)

    def write(self, rows: list[Row], folder: Path) -> Path:
        """The file (or the folder of parts)."""
        identify, time = IDS[self.ids], TIMES[self.times]
        values = [(identify(user), identify(item), time(seconds), NOTE) for user, item, seconds in rows]
        if self.format == "parts":
            return _parts(values, folder / "parts")
        content = {"csv": self._csv, "jsonl": self._jsonl, "json": self._json, "parquet": _parquet, "xlsx": _xlsx}
        path = folder / f"table.{self.format}{self.packing}"
        path.write_bytes(PACKED[self.packing](content[self.format](values)))
        return path

    def _csv(self, values: list[tuple[Any, ...]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.separator, lineterminator="\r\n" if self.separator == ";" else "\n")
        writer.writerows([COLUMNS, *values])
        return text.getvalue().encode(self.encoding)

    def _jsonl(self, values: list[tuple[Any, ...]]) -> bytes:
        return "\n".join(_objects(values)).encode(self.encoding)

    def _json(self, values: list[tuple[Any, ...]]) -> bytes:
        return f"[{', '.join(_objects(values))}]".encode(self.encoding)


def _objects(values: list[tuple[Any, ...]]) -> Iterator[str]:
    return (json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False, default=str) for row in values)


def _table(values: list[tuple[Any, ...]]) -> pa.Table:
    columns = dict(zip(COLUMNS, map(list, zip(*values, strict=True)), strict=True))
    return pa.table({name: _array(column) for name, column in columns.items()})


def _array(column: list[Any]) -> pa.Array:
    if isinstance(column[0], uuid.UUID):
        return pa.ExtensionArray.from_storage(pa.uuid(), pa.array([value.bytes for value in column], pa.binary(16)))
    return pa.array(column)


def _parquet(values: list[tuple[Any, ...]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(_table(values), sink)
    return bytes(sink.getvalue())


def _parts(values: list[tuple[Any, ...]], folder: Path) -> Path:
    """Two parts, as a cluster writes them, with what it leaves beside."""
    folder.mkdir(exist_ok=True)
    half = max(1, len(values) // 2)
    for number, part in enumerate((values[:half], values[half:])):
        (folder / f"part-{number}.parquet").unlink(missing_ok=True)
        if part:
            (folder / f"part-{number}.parquet").write_bytes(_parquet(part))
    (folder / "_SUCCESS").touch()
    return folder


def _xlsx(values: list[tuple[Any, ...]]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("orders")
    for row in (COLUMNS, *values):
        sheet.append([str(cell) if isinstance(cell, uuid.UUID) else cell for cell in row])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _zipped(content: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("folder/", b"")
        file.writestr("folder/table", content)
        file.writestr("__MACOSX/._table", b"resource")
    return archive.getvalue()


def every_form() -> list[Form]:
    """Each way to write that a reader is to find out, without those that a format cannot have."""
    typed = [ids for ids in IDS if ids != "bytes"]
    texts = itertools.product(typed, ("seconds", "milliseconds", "iso", "days first"), PACKED)
    forms = [
        Form("csv", ids, times, packing, encoding, separator)
        for (ids, times, packing), encoding, separator in itertools.product(
            texts, ("utf-8", "utf-8-sig", "cp1252", "utf-16"), (",", ";", "\t", "|")
        )
    ]
    for format, encodings in (("jsonl", ("utf-8", "utf-8-sig", "utf-16")), ("json", ("utf-8", "utf-16"))):
        texts = itertools.product(typed, ("seconds", "milliseconds", "iso", "days first"), PACKED)
        forms += [Form(format, *form, encoding) for form, encoding in itertools.product(texts, encodings)]
    binary = itertools.product(("parquet", "parts"), IDS, TIMES)
    forms += [Form(*form) for form in binary]
    return forms + [
        Form("xlsx", ids, times, packing) for ids, times, packing in itertools.product(typed, TIMES, ("", ".zip"))
    ]
