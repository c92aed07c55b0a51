"""The rows of one file that could not be read, and how many of them are put up with."""

from pathlib import Path

from fedmem.errors import ConfigError, DataError


class BadRows:
    """Collects (line, reason); ``check`` raises one ``DataError`` if there are more than ``tolerated``."""

    def __init__(self, path: Path, tolerated: int = 0, unit: str = "") -> None:
        if tolerated < 0:
            raise ConfigError(f"skip_bad_rows = {tolerated} must be 0 or more")
        self._path = path
        self._tolerated = tolerated
        self._unit = unit
        self._reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, line: int, reason: str) -> None:
        """Note a bad row; a line counts once, with its first reason."""
        self._reasons.setdefault(line, reason)

    def check_header(self) -> None:
        """``DataError`` if line 1 is bad: without a header no row can be read, whatever is tolerated."""
        if 1 in self._reasons:
            raise DataError(f"{self._path}:1: {self._reasons[1]}; the header with the column names was expected there")

    def check(self) -> None:
        """``DataError`` naming the first row beyond what is tolerated."""
        if len(self) <= self._tolerated:
            return
        line = sorted(self._reasons)[self._tolerated]
        raise DataError(f"{self._path}:{self._unit}{line}: {self._reasons[line]}; {self._remedy()}")

    def _remedy(self) -> str:
        if self._tolerated:
            return (
                f"this is bad row {self._tolerated + 1} and --skip-bad-rows allows {self._tolerated} (of {len(self)})"
            )
        others = "" if len(self) == 1 else f" (there are {len(self)} bad rows)"
        return f"mend the row or leave bad rows out with --skip-bad-rows N{others}"
