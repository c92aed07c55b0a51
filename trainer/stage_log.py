"""How far a job's preparation is, for its log: encoding the texts of a large catalogue takes minutes."""

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)


class StageLog:
    """Progress of named stages, written to the log whenever another quarter of a stage is done.

    Args:
        go_on: called at every report; raises where the job is to end or to wait.
    """

    def __init__(self, go_on: Callable[[], None]) -> None:
        self._go_on = go_on
        self._written = ("", -1)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take a report of a stage: how many of its parts are done."""
        self._go_on()
        quarter = (stage, 4 * done // max(total, 1))
        if quarter != self._written:
            self._written = quarter
            logger.info("%s: %s of %s", stage, f"{done:,}", f"{total:,}")
