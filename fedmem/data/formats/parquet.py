"""A parquet file that says in one line why it cannot be read."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fedmem.errors import DataError

_UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)


def read_parquet(content: bytes, path: Path, wanted: Callable[[list[str]], list[str]]) -> pa.Table:
    """The columns that ``wanted`` picks from the names in the file; ``DataError`` if the file is damaged."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        names = file.schema_arrow.names
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    picked = wanted(names)
    try:
        return file.read(columns=picked)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(f"{path} is not a parquet file that can be read ({reason}); write it again")
