"""Dates that are no ISO 8601: which form most of a column fits, asked for where it fits several."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fedmem.errors import DataError
from fedmem.identifiers import shown
from fedmem.times import read_date

_DAYS = ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y", "%Y{0}%m{0}%d")
_CLOCKS = ("", " %H:%M", " %H:%M:%S", ", %H:%M", ", %H:%M:%S")
FORMS = tuple(day.format(sign) + clock for sign in "./-" for day in _DAYS for clock in _CLOCKS)

SAMPLE = 1000  # texts


def form_of(texts: Sequence[str], path: Path, column: str) -> str | None:
    """Find the form that all or most texts have, None if there is none; ``DataError`` if it may be one of several."""
    likely = _of_most(texts[:SAMPLE], FORMS)  # to try them all on each text would take as long as reading the file
    forms = _of_most(texts, likely)
    most = max(forms.values(), default=0)
    best = [form for form, count in forms.items() if count == most]
    if len(best) > 1:
        example = next(text for text in texts if _fits(text, best[0]))
        others = "all" if most == len(texts) else "most"
        raise DataError(
            f"{path}: the {column} {shown(example)} and {others} others may be of the form {' or '.join(best)}; "
            f"say which: --date-format '{best[0]}'"
        )
    return best[0] if best else None


def _of_most(texts: Sequence[str], forms: Iterable[str]) -> dict[str, int]:
    """Count, for each form that more than half of the texts have, how many do."""
    counts = {form: sum(_fits(text, form) for text in texts) for form in forms}
    return {form: count for form, count in counts.items() if 2 * count > len(texts)}


def _fits(text: str, form: str) -> bool:
    try:
        read_date(text, form)
    except DataError:
        return False
    return True
