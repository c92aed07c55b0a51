"""What a cell of an items file holds: a text, a year, names as a list or with separators between them."""

import ast
import json
import re
from datetime import date
from itertools import islice
from typing import Any

from fedmem.errors import DataError
from fedmem.identifiers import MAX_NAME_LENGTH, MAX_NAMES, is_missing, shown

# Not what a text may hold in a database or on a line; tab and line ends count as blanks.
_BLANKS = re.compile(r"[\t\r\n]+")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


def text_in(value: Any, what: str) -> str:
    """Return a cell as text without surrounding blanks, empty if it has no value; ``DataError`` if it is not text."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise DataError(f"the {what} {shown(value)} is bytes that are no UTF-8 text") from None
    if is_missing(value):
        return ""
    if isinstance(value, (list, dict, tuple)):
        raise DataError(f"the {what} {shown(value)} is a {type(value).__name__}, where a text is expected")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip() if not isinstance(value, date) else value.isoformat()
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        raise DataError(f"the {what} {shown(text)} holds the character {forbidden[0]!r}, which no text may")
    return text


def line_in(value: Any, what: str) -> str:
    """Return a cell as text on one line."""
    return _BLANKS.sub(" ", text_in(value, what))


def year_in_cell(value: Any) -> int | None:
    """Read 1995 from 1995, "1995" or "1995.0", as a column with gaps is often written; None for an empty cell."""
    text = text_in(value, "year")
    if not text:
        return None
    digits = text.removesuffix(".0")
    if not re.fullmatch(r"-?[0-9]{1,4}", digits):
        raise DataError(f"the year {shown(text)} is not a whole number of four digits at most")
    return int(digits)


AVAILABLE = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def available_in(value: Any) -> bool | None:
    """Read whether an item may be recommended, from 1, true or yes, 0, false or no; None for an empty cell."""
    text = text_in(value, "availability")
    if not text:
        return None
    if text.lower() not in AVAILABLE:
        raise DataError(f"the availability {shown(text)} is none of {', '.join(AVAILABLE)}")
    return AVAILABLE[text.lower()]


def names_in(value: Any, separator: str, what: str) -> tuple[str, ...]:
    """Read names from a list, from a text that writes one, or from a text that a separator splits, each once.

    Their lengths and their number end where the API's do.
    """
    if isinstance(value, str) and value.strip().startswith("["):
        value = _written_list(value.strip())
    if not isinstance(value, (list, tuple)):
        value = line_in(value, what).split(separator)
    if any(isinstance(name, (list, dict)) for name in value):
        raise DataError(f"the {what}s {shown(value)} are no texts; give a list of names")
    names = dict.fromkeys(name for name in (line_in(each, what)[:MAX_NAME_LENGTH] for each in value) if name)
    return tuple(islice(names, MAX_NAMES))


def _written_list(text: str) -> Any:
    """Parse a list written as JSON or Python; return the text itself if it is neither."""
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, list):
            return found
    return text
