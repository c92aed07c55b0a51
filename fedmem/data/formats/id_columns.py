"""Columns of ids: each distinct value is read once, by the rule of ``fedmem.identifiers``."""

import logging
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmem.data.formats.bad_rows import BadRows
from fedmem.data.formats.table import Batch, Values, distinct
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
        values = batch.columns[self._name]
        check_flat(values, self._name, batch)
        known, codes = distinct(values)
        if batch.untyped:
            known = self._without_point(known, batch)
        exact_below = _exact_below(values, batch)
        ids = np.empty(len(known), dtype=object)
        usable = np.ones(len(known), dtype=bool)
        reasons: dict[int, tuple[str, str]] = {}
        for code, value in enumerate(known):
            try:
                ids[code] = self._interned.get(value) if type(value) is str else None
                if ids[code] is None:
                    text = read_id(value, self._name, exact_below)
                    ids[code] = self._interned.setdefault(text, text)
            except DataError as error:
                usable[code] = False
                kind = f"no {self._name}" if isinstance(error, MissingIdError) else f"unusable {self._name}"
                reasons[code] = (str(error), kind)
        self._note(reasons, codes, usable, batch)
        return ids[codes], usable[codes]

    def _note(
        self,
        reasons: dict[int, tuple[str, str]],
        codes: npt.NDArray[np.int64],
        usable: npt.NDArray[np.bool_],
        batch: Batch,
    ) -> None:
        for row in np.flatnonzero(~usable[codes]) if reasons else ():
            self._bad_rows.add(int(batch.lines[row]), *reasons[int(codes[row])], batch.path)

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


def check_flat(values: Values, name: str, batch: Batch) -> None:
    """Raise ``DataError`` for a column whose every value is a list or an object."""
    if isinstance(values, pa.ChunkedArray) and pa.types.is_nested(values.type):
        raise DataError(
            f"{batch.path}: the column {name!r} holds values of type {values.type}, where single ones are expected; "
            "take out the one that is meant"
        )
