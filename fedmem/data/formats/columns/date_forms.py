"""Dates that are no ISO 8601: which form a whole column fits, asked for where it fits several."""

from collections.abc import Sequence
from pathlib import Path

from fedmem.errors import DataError
from fedmem.identifiers import shown
from fedmem.times import read_date

_DAYS = ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%Y{0}%m{0}%d")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", ", %H:%M", ", %H:%M:%S")
FORMS = tuple(day.format(sign) + clock for sign in "./-" for day in _DAYS for clock in _CLOCKS)


def form_of(texts: Sequence[str], path: Path, column: str) -> str | None:
    """Find the form that all texts have, None if there is none; ``DataError`` if it may be one of several."""
    forms = [form for form in FORMS if all(_fits(text, form) for text in texts)]
    if len(forms) > 1:
        raise DataError(
            f"{path}: the {column} {shown(texts[0])} and all others may be of the form {' or '.join(forms)}; "
            f"say which: --date-format '{forms[0]}'"
        )
    return forms[0] if forms else None


def _fits(text: str, form: str) -> bool:
    try:
        read_date(text, form)
    except DataError:
        return False
    return True
