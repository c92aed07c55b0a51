"""How tests wait for what another thread or process does: for the thing itself, and long enough for a busy machine."""

import time
from collections.abc import Callable
from typing import IO, TypeVar

T = TypeVar("T")
PATIENCE = 180.0  # seconds; on a quiet machine nothing takes a tenth of it
LONGER = (
    1.2  # the next pause, and so on to the longest: to look costs time of the processor, that of what is waited for
)
LONGEST_PAUSE = 0.1


def until(happened: Callable[[], T], what: str, patience: float = PATIENCE, *, pause: float = 0.02) -> T:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + patience
    while not (found := happened()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(pause)
        pause = max(pause, min(LONGER * pause, LONGEST_PAUSE))
    return found


def until_it_says(output: IO[str], words: str) -> str:
    """Read a process's output up to the line that holds these words; its end is a failure."""
    said = ""
    for line in output:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} was never said:\n{said}")
