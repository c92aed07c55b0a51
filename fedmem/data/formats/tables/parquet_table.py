"""Parquet files and folders of parts, some rows at a time, or one line that says why they cannot be read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fedmem.data.formats.tables.opening import damaged, read_bytes
from fedmem.data.formats.tables.table import Batch, ColumnSelection

_UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
_BATCH = 1_000_000


def parts_of(path: Path) -> list[Path]:
    """List the parquet files in a folder and its subfolders by name, without hidden ones (.name) and notes (_name)."""
    files = sorted(path.rglob("*.parquet"))
    return [
        file for file in files if file.is_file() and not any(_is_note(part) for part in file.relative_to(path).parts)
    ]


def _is_note(name: str) -> bool:
    return name.startswith((".", "_"))


def read_parquet(path: Path, wanted: ColumnSelection) -> Iterator[Batch]:
    """Read the wanted columns, in batches, of a file, or of each part of a folder in the order of their names."""
    parts = parts_of(path) if path.is_dir() else [path]
    for part in parts:
        content = read_bytes(part, "a parquet file")
        try:
            yield from _batches(pq.ParquetFile(pa.BufferReader(content)), part, wanted)
        except _UNREADABLE as error:
            raise damaged(part, "a parquet file", error) from error


def _batches(file: pq.ParquetFile, path: Path, wanted: ColumnSelection) -> Iterator[Batch]:
    picked = wanted.pick(file.schema_arrow.names, str(path))
    first = 1
    for batch in file.iter_batches(batch_size=_BATCH, columns=picked):
        columns = {name: pa.chunked_array([batch.column(name)]) for name in picked}
        yield Batch(columns, np.arange(first, first + len(batch)), path)
        first += len(batch)
