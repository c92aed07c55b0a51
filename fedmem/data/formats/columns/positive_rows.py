"""Which rows count as liked: ratings from a threshold on, and events of kinds that are named."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.data.formats.columns.numbers import floats_in
from fedmem.data.formats.tables.bad_rows import BadRows
from fedmem.data.formats.tables.table import Batch
from fedmem.errors import DataError
from fedmem.identifiers import is_missing, shown

_log = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]

# Names under which other programs write how much an item was liked, and what was done with it.
RATING_NAMES = frozenset(("rating", "ratings", "stars", "score", "overall", "grade", "review_score", "liked", "like"))
EVENT_NAMES = frozenset(
    ("event", "event_type", "event_name", "action", "action_type", "behavior", "behaviour", "interaction_type", "kind")
)


class Ratings:
    """A column of ratings, of which those below ``least`` are no likes."""

    def __init__(self, name: str, least: float, bad_rows: BadRows) -> None:
        self._name = name
        self._least = least
        self._bad_rows = bad_rows
        self.below = 0

    def read(self, batch: Batch) -> tuple[Mask, Mask]:
        """Return a mask of the rows that have a rating [n], and of those of them that count [n]."""
        known, codes = batch.distinct(self._name)
        numbers = np.array(floats_in(known), dtype=np.float64)
        reasons = {
            code: (f"the {self._name} {shown(known[code])} is no number", f"unusable {self._name}")
            for code in np.flatnonzero(np.isnan(numbers)).tolist()
        }
        self.below += int((numbers < self._least)[codes].sum())
        return self._bad_rows.sort_out(batch, codes, reasons), (numbers >= self._least)[codes]

    def report(self, path: Path) -> dict[str, int]:
        """Say how many rows were left out, and give the number under a name."""
        least = f"{self._least:g}"
        if self.below:
            below = f"{self.below:,}"
            _log.info("%s: %s rows with a %s below %s do not count as liked", path, below, self._name, least)
        return {f"{self._name} below {least}": self.below} if self.below else {}


class Events:
    """A column of kinds of events, of which some count."""

    def __init__(self, name: str, positive: Sequence[str], bad_rows: BadRows) -> None:
        self._name = name
        self._positive = frozenset(positive)
        self._bad_rows = bad_rows
        self._counts: Counter[str] = Counter()

    def read(self, batch: Batch) -> tuple[Mask, Mask]:
        """Return a mask of the rows that name a kind [n], and of those of them that count [n]."""
        known, codes = batch.distinct(self._name)
        kinds = [_kind(value) for value in known]
        why = (f"there is no {self._name}", f"no {self._name}")
        usable = self._bad_rows.sort_out(batch, codes, {code: why for code, kind in enumerate(kinds) if not kind})
        counts = np.bincount(codes, minlength=len(known))
        self._counts.update({kind: int(count) for kind, count in zip(kinds, counts, strict=True) if kind})
        counted = np.array([kind in self._positive for kind in kinds], dtype=bool)
        return usable, counted[codes]

    def report(self, path: Path) -> dict[str, int]:
        """Say which kinds there are, and count those left out; ``DataError`` if there is none that counts."""
        unknown = sorted(self._positive - self._counts.keys())
        there = ", ".join(f"{kind} {count:,}" for kind, count in self._counts.most_common(20))
        if len(unknown) == len(self._positive):
            raise DataError(
                f"{path}: no {self._name} is {' or '.join(unknown)} (found: {there}); name others by --positive"
            )
        if unknown:
            _log.warning("%s: no %s is %s (found: %s)", path, self._name, " or ".join(unknown), there)
        left_out = {kind: count for kind, count in self._counts.items() if kind not in self._positive}
        if left_out:
            _log.info(
                "%s: of the kinds in %s (%s) only %s count", path, self._name, there, ", ".join(sorted(self._positive))
            )
        return {f"{self._name} {kind}": count for kind, count in left_out.items()}


def _kind(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return "" if is_missing(text) else str(text).strip()
