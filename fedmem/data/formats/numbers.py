"""Numbers in columns of text, with a point or a comma before the fraction."""

import re
from collections.abc import Sequence

from fedmem.times import number_in

_COMMA = re.compile(r"[+-]?\d*,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")


def numbers_in(texts: Sequence[str]) -> list[int | float | None]:
    """Each text as a number, None where it is none.

    A comma stands before a fraction where nothing else is possible: 4,5 beside 1,700 is 4.5. In a column where every
    comma has three digits behind it, it may mean thousands: those are no numbers.
    """
    stripped = [text.strip() for text in texts]
    commas = [text for text in stripped if _COMMA.fullmatch(text)]
    if commas and not all(map(_THOUSANDS.fullmatch, commas)):
        stripped = [text.replace(",", ".") if _COMMA.fullmatch(text) else text for text in stripped]
    return [number_in(text) for text in stripped]
