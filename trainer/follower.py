"""Keeps the copies of runs on this machine as the bucket has them while a job trains: its own is left to it."""

import logging

from fedmem.errors import StorageError
from fedmem.storage.followed_runs import FollowedRuns
from trainer.repeating import Repeating

logger = logging.getLogger(__name__)


class Follower(Repeating):
    """Looks at the copies.

    Args:
        runs: the copies.
        seconds: from one look to the next.
    """

    def __init__(self, runs: FollowedRuns, seconds: float) -> None:
        super().__init__("follower", seconds)
        self._runs = runs

    def look(self) -> None:
        """See ``FollowedRuns``."""
        try:
            self._runs.look()
        except StorageError as error:
            logger.warning("the copies of runs cannot be looked at: %s", error)
        except Exception:  # whatever it is: this thread goes on, and so does the trainer
            logger.exception("the copies of runs could not all be looked at")
