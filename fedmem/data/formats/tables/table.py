"""Some rows of a table: what the reader of each format gives, and what the reader of each kind of column takes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmem.errors import DataError
from fedmem.identifiers import FLOAT64_EXACT

LineNumbers = npt.NDArray[np.int64]
# An arrow array where a column has one type; Python values where every cell has a type of its own.
Values: TypeAlias = pa.ChunkedArray | list[Any]


class ColumnSelection(Protocol):
    """Which of a file's columns are to be read."""

    @property
    def candidates(self) -> frozenset[str]:
        """The names of all columns that could be, present or not."""

    def pick(self, names: Sequence[str], where: str) -> list[str]:
        """Return those of the wanted names that the file has; ``DataError`` if a required one is missing."""


@dataclass(frozen=True, eq=False)
class Batch:
    """n rows of a file: its columns by name, and the number of each row's first line [n].

    ``untyped``: the file writes everything as text, so that a number and a text look alike. ``exact_below`` is the
    first number that the file's floats do not hold exactly, where the column's type does not tell it. ``unsaid`` has,
    by column, the places of the rows that lack it, where a row may.
    """

    columns: Mapping[str, Values]
    lines: LineNumbers
    path: Path
    untyped: bool = False
    exact_below: int = FLOAT64_EXACT
    unsaid: Mapping[str, Collection[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    def distinct(self, name: str) -> tuple[list[Any], npt.NDArray[np.int64]]:
        """Do as the function ``distinct``; ``DataError`` for a column whose every value is a list or an object."""
        values = self.columns[name]
        if isinstance(values, pa.ChunkedArray) and pa.types.is_nested(values.type):
            raise DataError(
                f"{self.path}: the column {name!r} holds values of type {values.type}, where single ones are expected; "
                "take out the one that is meant"
            )
        return distinct(values)


def as_list(values: Values) -> list[Any]:
    """Return the values of a column as Python objects [n]."""
    return values if isinstance(values, list) else list(values.to_pylist())


def distinct(values: Values) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """Return the distinct values of a column, as Python objects, and for each row which one it is [n]."""
    if isinstance(values, list):
        return _distinct_values(values)
    combined = values.combine_chunks()
    if isinstance(combined, pa.ExtensionArray):
        kind = combined.type
        encoded = combined.storage.dictionary_encode(null_encoding="encode")
        storage = pa.ExtensionArray.from_storage(kind, encoded.dictionary)
        return storage.to_pylist(), np.asarray(encoded.indices, dtype=np.int64)
    if not pa.types.is_dictionary(combined.type):
        combined = combined.dictionary_encode(null_encoding="encode")
    elif combined.null_count:
        combined = combined.cast(combined.type.value_type).dictionary_encode(null_encoding="encode")
    return combined.dictionary.to_pylist(), np.asarray(combined.indices, dtype=np.int64)


def _distinct_values(values: list[Any]) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """Tell values apart by type too, as True, 1 and 1.0 are one key of a dictionary; an unhashable one is distinct."""
    if set(map(type, values)) == {str}:
        places = {value: place for place, value in enumerate(dict.fromkeys(values))}
        return list(places), np.fromiter(map(places.__getitem__, values), np.int64, len(values))
    found: dict[tuple[type, Any], int] = {}
    kept: list[Any] = []
    codes = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        try:
            code = found.setdefault((type(value), value), len(kept))
        except TypeError:
            code = len(kept)
        if code == len(kept):
            kept.append(value)
        codes[row] = code
    return kept, codes
