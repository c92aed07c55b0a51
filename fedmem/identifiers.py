"""What may name a user or an item, and how long: the rule by which readers, contracts and storage take ids in.

``read_id`` reads one value: of a feedback event, of a path, of an edited item. A column is read by giving each of its
distinct values to the same function once (``data.formats.columns``): a million rows cost as many calls as there are
ids. The rule is for ids that enter: what was stored before there was a rule is served and deleted under its name.
"""

import math
import re
from decimal import Decimal
from numbers import Integral
from pathlib import PurePath
from uuid import UUID

from fedmem.errors import DataError, MissingIdError

MAX_ID_LENGTH = 512
MAX_ID_BYTES = 1024  # of UTF-8: an index of PostgreSQL takes 2,704 of a row's, and that of interactions holds two ids
MAX_DESCRIPTION_LENGTH = 20_000  # of an item, in characters
MAX_TITLE_LENGTH, MAX_NAME_LENGTH, MAX_NAMES = 1000, 200, 100  # of an item; of a genre or a tag, and how many
# From here on, neighbouring whole numbers share one float of 64, 32 and 16 bits.
FLOAT64_EXACT, FLOAT32_EXACT, FLOAT16_EXACT = 2**53, 2**24, 2**11

# How programs write that a value is missing, in any case. "NA" and "NaT" only as they stand here: Na may be a name.
_MISSING_IN_ANY_CASE = frozenset(
    ("null", "none", "nan", "-nan", "n/a", "#n/a", "<na>", "<null>", "(null)", "[null]", r"\n", "undefined")
)
_MISSING = frozenset(("NA", "#NA", "NaT"))
# Control characters, which no database, log or header should hold, and lone surrogates, which are not UTF-8.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SHORTENED = re.compile(r"-?\d([.,]\d+)?[eE]\+\d+")
# How programs write what no whole number is: pandas and numpy the first, JSON writers the second.
_INFINITE = re.compile(r"[+-]?(inf|Infinity)")
# Clients resolve these in an address, so that no request could ever reach what bears the name.
_PATH_STEPS = frozenset((".", ".."))
_SHOWN = 60


def read_id(value: object, what: str = "id", exact_below: int = FLOAT64_EXACT) -> str:
    """Take a value as an id: a text without surrounding blanks. Upper and lower case and accents stay as they are.

    Texts, UTF-8 bytes, UUIDs and whole numbers are ids. So are floats that are whole numbers below ``exact_below``:
    12.0 is the id 12.

    Raises:
        MissingIdError: if there is none: None, NaN, blanks, or a word for a missing value, such as ``NULL``.
        DataError: if it cannot be one; the message begins with ``what`` and shows the value.
    """
    text = _as_text(value, what, exact_below).strip()
    if not text:
        raise MissingIdError(f"there is no {what}")
    if is_missing_marker(text):
        raise MissingIdError(f"the {what} {text!r} is how a missing value is written, so it names nothing")
    _check_text(text, what)
    return text


def is_missing_marker(text: str) -> bool:
    r"""Tell whether a text without surrounding blanks stands for a missing value.

    Such are NULL, None, NaN, N/A, #N/A, <NA>, <null>, (null), [NULL], \N and undefined in any case; NA, #NA and NaT
    exactly.
    """
    return text in _MISSING or text.lower() in _MISSING_IN_ANY_CASE


def is_missing(value: object) -> bool:
    """Tell whether a cell of a table holds no value: None, NaN, blanks, or a word for a missing value."""
    if isinstance(value, str):
        text = value.strip()
        return not text or is_missing_marker(text)
    return value is None or (isinstance(value, (float, Decimal)) and value != value)


def shown(value: object) -> str:
    """Give a value as a message shows it: on one line, and not longer than a line."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "<thousands of digits>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}.."


def _as_text(value: object, what: str, exact_below: int) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return _decoded(value, what)
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, bool) and isinstance(value, Integral):
        return _of_whole_number(int(value), what)
    if isinstance(value, (float, Decimal)):
        return _of_float(value, what, exact_below)
    raise DataError(f"the {what} {shown(value)} is a {type(value).__name__}; ids are texts or whole numbers")


def _decoded(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DataError(f"the {what} {shown(value)} is bytes that are no UTF-8 text; write it as text") from None


def _of_whole_number(number: int, what: str) -> str:
    if abs(number) >= 10**MAX_ID_LENGTH:
        raise DataError(f"the {what} is {shown(number)}; an id has at most {MAX_ID_LENGTH} characters")
    return str(number)


def _of_float(number: float | Decimal, what: str, exact_below: int) -> str:
    if math.isnan(number):
        return ""
    if math.isinf(number) or number != int(number):
        raise DataError(f"the {what} {number} is no whole number; write ids that are none as text")
    if isinstance(number, float) and abs(number) >= exact_below:
        raise DataError(
            f"the {what} {number!r} is a float, which cannot tell whole numbers from {exact_below} on apart; "
            "write ids as text or as integers"
        )
    return _of_whole_number(int(number), what)


def _check_text(text: str, what: str) -> None:
    if len(text) > MAX_ID_LENGTH:
        raise DataError(f"the {what} {shown(text)} has {len(text):,} characters; an id has at most {MAX_ID_LENGTH}")
    if len(text) > MAX_ID_BYTES // 4 and len(text.encode(errors="surrogatepass")) > MAX_ID_BYTES:
        raise DataError(f"the {what} {shown(text)} has more than {MAX_ID_BYTES} bytes of UTF-8; give a shorter one")
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        raise DataError(
            f"the {what} {shown(text)} holds the character {forbidden[0]!r}, which no id may; write it without"
        )
    if text in _PATH_STEPS:
        raise DataError(f"the {what} {text!r} cannot be reached in an address (it means a folder there); give another")
    if _INFINITE.fullmatch(text):
        raise DataError(f"the {what} {text!r} is how an infinite number is written, so it names nothing")
    if _SHORTENED.fullmatch(text):
        raise DataError(f"the {what} {text!r} is a number that a program has rounded; save the column as text")


def dataset_name_of(filename: str) -> str:
    """Propose what a data set is called that a file is imported as: the file's name up to its first dot."""
    return PurePath(filename).name.split(".")[0].strip() or "data"
