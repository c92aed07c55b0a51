"""Log lines that come again and again, said once a minute."""

import logging
import time
from collections.abc import Callable, Hashable

SILENCE = 60.0  # seconds for which the same is not said again
REMEMBERED = 1000


class SaidOnce(logging.Filter):
    """Lets the same warning or error through once a minute; the next one tells how many were left out.

    Args:
        clock: seconds, from any moment on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.clock = clock
        self._said: dict[Hashable, tuple[float, int]] = {}  # when, and how many were left out since

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is let through."""
        same = self.same(record)
        if same is None:
            return True
        now = self.clock()
        said, left_out = self._said.get(same, (now - SILENCE, 0))
        if now - said < SILENCE:
            self._said[same] = said, left_out + 1
            return False
        if len(self._said) >= REMEMBERED:
            self._said.clear()
        self._said[same] = now, 0
        if left_out:
            self.tell(record, left_out)
        return True

    def same(self, record: logging.LogRecord) -> Hashable | None:
        """Return what equal records have in common, None for one that is always let through."""
        kind = record.exc_info[0] if record.exc_info else None
        return (record.name, record.getMessage(), kind) if record.levelno >= logging.WARNING else None

    def tell(self, record: logging.LogRecord, left_out: int) -> None:
        """Add to a record how many like it were left out before."""
        record.msg, record.args = f"{record.getMessage()} (left out before: {left_out})", None
