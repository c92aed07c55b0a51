"""The rows that could not be read, why, and how many of them are put up with."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.data.formats.tables.table import Batch
from fedmem.errors import DataError

WIDTH = "wrong number of fields"
NO_TEXT = "no text"


class BadRows:
    """Collects (file, line, reason, kind); ``check`` raises one ``DataError`` if there are more than ``tolerated``.

    ``unit`` stands before the number of a row in a file that has no lines.
    """

    def __init__(self, path: Path, tolerated: int = 0, unit: str = "") -> None:
        self._path = path
        self._tolerated = tolerated
        self._unit = unit
        self._reasons: dict[tuple[Path, int], tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def kinds(self) -> dict[str, int]:
        """How many rows were bad for which kind of reason."""
        return dict(Counter(kind for _, kind in self._reasons.values()))

    def add(self, line: int, reason: str, kind: str, path: Path | None = None) -> None:
        """Note a bad row; a line counts once, with its first reason."""
        self._reasons.setdefault((path or self._path, line), (reason, kind))

    def sort_out(
        self, batch: Batch, codes: npt.NDArray[np.int64], reasons: Mapping[int, tuple[str, str]]
    ) -> npt.NDArray[np.bool_]:
        """Note the rows whose value has a (reason, kind) by its code [n]; return a mask of the others [n]."""
        if not reasons:
            return np.ones(len(codes), dtype=bool)
        bad = np.isin(codes, list(reasons))
        for row in np.flatnonzero(bad).tolist():
            self.add(int(batch.lines[row]), *reasons[int(codes[row])], batch.path)
        return ~bad

    def check(self) -> None:
        """Raise ``DataError`` naming the first row beyond what is tolerated."""
        if len(self) <= self._tolerated:
            return
        path, line = sorted(self._reasons)[self._tolerated]
        raise DataError(f"{path}:{self._unit}{line}: {self._reasons[path, line][0]}; {self._remedy()}")

    def _remedy(self) -> str:
        if self._tolerated:
            return (
                f"this is bad row {self._tolerated + 1} and --skip-bad-rows allows {self._tolerated} (of {len(self)})"
            )
        others = "" if len(self) == 1 else f" (there are {len(self)} bad rows)"
        return f"mend the row or leave bad rows out with --skip-bad-rows N{others}"
