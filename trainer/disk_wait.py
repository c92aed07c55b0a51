"""Room on the disk, or a bucket that can be reached: how a job waits for it."""

import logging
import time
from collections.abc import Callable

from fedmem.errors import FedMemError

logger = logging.getLogger(__name__)

PAUSES = 1.0, 30.0  # seconds before a write is tried again: the first time, and at most
LOOK = 0.2  # seconds between two looks whether the job is still wanted


class DiskSpaceWait:
    """Waits after a write that the disk had no room for, or the bucket did not take, longer each time in a row.

    Args:
        go_on: asked meanwhile; raises where the job is to end or to rest.
    """

    def __init__(self, go_on: Callable[[], None]) -> None:
        self._go_on = go_on
        self._pause = PAUSES[0]

    def wait(self, error: FedMemError, *, progress: bool) -> None:
        """Wait before the next try; ``progress`` says whether anything was written since the last."""
        if progress or self._pause == PAUSES[0]:
            logger.warning("waiting, and going on by itself once that is over: %s", error)
            self._pause = PAUSES[0]
        until = time.monotonic() + self._pause
        while (left := until - time.monotonic()) > 0:
            self._go_on()
            time.sleep(min(left, LOOK))
        self._pause = min(2 * self._pause, PAUSES[1])
