"""Whether a job may go on: its lease and the heartbeat that keeps it, its user's wishes, the process's signals."""

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Literal, Self, TypeVar

from fedmem.errors import LeaseLostError, StorageError
from fedmem.storage.jobs import JobStore, Lease

logger = logging.getLogger(__name__)

ASK_EVERY = 0.3  # seconds between two looks at what is wanted
PATIENCE, RETRY = 30.0, 1.0  # seconds that a write waits for the database, and between two tries

T = TypeVar("T")
Wish = Literal["running", "paused", "stopped", "shutdown"]


class Shutdown:
    """Set once by SIGTERM or Ctrl-C: finish the chunk, hand the job back, exit.

    A plain flag: a lock that the interrupted thread may hold is no place for a signal handler.
    """

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        """Ask for a shutdown; safe in a signal handler."""
        self._asked = True

    def __bool__(self) -> bool:
        return self._asked

    def wait(self, seconds: float) -> None:
        """Sleep, but hardly longer than until asked."""
        until = time.monotonic() + seconds
        while not self._asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))


class Control:
    """Renews a lease from a thread of its own, three times per lease, and asks there what is wanted of the job.

    A process that was frozen past its lease finds out by its own clock, before it writes anything.

    Args:
        jobs: the store of jobs.
        lease: what is held.
        seconds: for how long.
        shutdown: whether the process is to end.
        since: when the lease was asked for, by ``time.monotonic()``.
    """

    def __init__(self, jobs: JobStore, lease: Lease, seconds: float, shutdown: Shutdown, since: float) -> None:
        self._jobs, self._lease, self._seconds, self._shutdown = jobs, lease, seconds, shutdown
        self._renewed = since
        self._desired: Wish = "running"
        self._progress = (0, 0)
        self._tells_clients = False  # the database knows that clients train
        self._erasing = False  # a user was deleted: the job is handed back, and begins with what is left
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=copy_context().run, args=(self._beat,), name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """End the heartbeats: what is written next ends the lease itself."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def wish(self) -> Wish:
        """What is wanted of the job now."""
        handed_back = self._shutdown or self._erasing
        return "shutdown" if handed_back and self._desired == "running" else self._desired

    def stop(self) -> bool:
        """Say whether training is to end; asked again and again, within a step of a chunk of clients too.

        Raises:
            LeaseLostError: if the lease ran out or another trainer holds it.
        """
        self.check()
        return self.wish != "running"

    def check(self) -> None:
        """Raise LeaseLostError unless the lease is certainly held; asked before every write."""
        if self._lost or time.monotonic() > self._renewed + self._seconds:
            raise LeaseLostError(f"job {self._lease.job_id}: the lease of {self._lease.worker} has run out")

    def watch(self, done: int, selected: int) -> None:
        """Note how many clients of the round are done; the next heartbeat tells."""
        self._progress = done, selected

    def patiently(self, write: Callable[[], T]) -> T:
        """Do a write that a database which is locked or away for a moment may refuse: again and again, for a while.

        Raises:
            StorageError: as the database refused it last, if it goes on.
            LeaseLostError: if the lease runs out meanwhile.
        """
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return write()
            except StorageError as error:
                self.check()
                if time.monotonic() > until:
                    raise
                logger.warning("waiting for the database: %s", error)
                time.sleep(RETRY)

    def _beat(self) -> None:
        while not self._ended.wait(min(ASK_EVERY, self._seconds / 6)) and not self._lost:
            self._ask()

    def _ask(self) -> None:
        """Look at the user's wish without waiting, or renew: with the first clients, and once a third has passed."""
        began, (done, selected) = time.monotonic(), self._progress
        news = selected > 0 and not self._tells_clients
        try:
            if began < self._renewed + self._seconds / 3 and not news:
                self._desired = self._jobs.wish(self._lease)
                self._erasing = self._jobs.has_erasures(self._lease)
            else:
                self._desired = self._jobs.renew(self._lease, self._seconds, done, selected)
                self._renewed, self._tells_clients = began, selected > 0
        except LeaseLostError as error:
            logger.warning("%s", error)
            self._lost = True
        except StorageError as error:  # it may pass; if not, the lease runs out
            logger.warning("no word from the database: %s", error)
