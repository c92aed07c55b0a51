"""Numbers in columns of text, with a point or a comma before the fraction."""

import re
from collections.abc import Sequence

from fedmem.times import number_in

_COMMA = re.compile(r"[+-]?\d*,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")


def numbers_in(texts: Sequence[str]) -> list[int | float | None]:
    """Convert each text to a number, or to None if it is not one.

    A comma is a decimal point if it can be nothing else: 4,5 beside 1,700 is 4.5. In a column where three digits follow
    every comma, it may mean thousands: those are not numbers.
    """
    stripped = [text.strip() for text in texts]
    commas = [text for text in stripped if _COMMA.fullmatch(text)]
    if commas and not all(map(_THOUSANDS.fullmatch, commas)):
        stripped = [text.replace(",", ".") if _COMMA.fullmatch(text) else text for text in stripped]
    return [number_in(text) for text in stripped]
