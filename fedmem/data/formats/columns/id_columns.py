"""Columns of ids: each distinct value is read once, by the rule of ``fedmem.identifiers``."""

import logging
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmem.data.formats.tables.bad_rows import BadRows
from fedmem.data.formats.tables.table import Batch, Values
from fedmem.data.interactions import StrArray
from fedmem.errors import DataError, MissingIdError
from fedmem.identifiers import FLOAT16_EXACT, FLOAT32_EXACT, FLOAT64_EXACT, is_missing_marker, read_id

_log = logging.getLogger(__name__)

_WHOLE_FLOAT = re.compile(r"-?\d+\.0+")


class IdColumn:
    """Reads a column batch by batch; an id that occurs in several is one object."""

    def __init__(self, name: str, bad_rows: BadRows) -> None:
        self._name = name
        self._bad_rows = bad_rows
        self._interned: dict[str, str] = {}

    def read(self, batch: Batch) -> tuple[StrArray, npt.NDArray[np.bool_]]:
        """Return ids [n] and a mask of the rows that have one [n]; the others are noted as bad."""
        known, codes = batch.distinct(self._name)
        if batch.untyped:
            known = self._without_point(known, batch)
        exact_below = _exact_below(batch.columns[self._name], batch)
        ids = np.empty(len(known), dtype=object)
        reasons: dict[int, tuple[str, str]] = {}
        for code, value in enumerate(known):
            try:
                ids[code] = self._id_of(value, exact_below)
            except DataError as error:
                kind = f"no {self._name}" if isinstance(error, MissingIdError) else f"unusable {self._name}"
                reasons[code] = (str(error), kind)
        return ids[codes], self._bad_rows.sort_out(batch, codes, reasons)

    def _id_of(self, value: Any, exact_below: int) -> str:
        found = self._interned.get(value) if type(value) is str else None
        if found is None:
            text = read_id(value, self._name, exact_below)
            found = self._interned.setdefault(text, text)
        return found

    def _without_point(self, known: list[Any], batch: Batch) -> list[Any]:
        """Drop ``.0`` if all ids end in it: a tool that knows no gaps in whole numbers wrote them as floats."""
        texts = [value.strip() for value in known]
        there = [text for text in texts if text and not is_missing_marker(text)]
        if not there or not all(map(_WHOLE_FLOAT.fullmatch, there)):
            return known
        example = there[0]
        _log.info(
            "%s: every %s is a whole number with a point, as %s: read as %s",
            batch.path,
            self._name,
            example,
            example.split(".")[0],
        )
        return [_whole(text) if _WHOLE_FLOAT.fullmatch(text) else text for text in texts]


def _whole(text: str) -> str | float:
    """Give what stands before the point, or the float where that is one of several numbers it may have been."""
    return text.split(".")[0] if abs(float(text)) < FLOAT64_EXACT else float(text)


def _exact_below(values: Values, batch: Batch) -> int:
    if isinstance(values, pa.ChunkedArray):
        if pa.types.is_float32(values.type):
            return FLOAT32_EXACT
        if pa.types.is_float16(values.type):
            return FLOAT16_EXACT
    return batch.exact_below
