"""Numbers in columns of any type: as they stand, or in text, with a point or a comma before the fraction."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from fedmem.times import number_in

_COMMA = re.compile(r"[+-]?\d*,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")


def floats_in(values: Sequence[Any]) -> list[float | None]:
    """Convert each value that is a number, or a text that writes one, to a float; None for those no finite float holds.

    A comma is a decimal point if it can be nothing else: 4,5 beside 1,700 is 4.5. In a column where three digits follow
    every comma, it may mean thousands: those are not numbers.
    """
    written = _numbers_in([value if isinstance(value, str) else "" for value in values])
    return [
        _finite(value if isinstance(value, (int, float, Decimal)) else number)
        for value, number in zip(values, written, strict=True)
    ]


def _numbers_in(texts: Sequence[str]) -> list[int | float | None]:
    stripped = [text.strip() for text in texts]
    commas = [text for text in stripped if _COMMA.fullmatch(text)]
    if commas and not all(map(_THOUSANDS.fullmatch, commas)):
        stripped = [text.replace(",", ".") if _COMMA.fullmatch(text) else text for text in stripped]
    return [number_in(text) for text in stripped]


def _finite(number: Any) -> float | None:
    try:
        found = float(number)
    except (TypeError, OverflowError):
        return None
    return found if np.isfinite(found) else None
