"""The trainer process: claims one job after the other and trains it; SIGTERM hands a job back and ends with 0."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from fedmem.contracts.jobs import LogLevel
from fedmem.errors import FedMemError, StorageError
from fedmem.logs import about
from fedmem.process_memory import bound_memory, give_back, machine_memory
from fedmem.serving import erase_texts, erase_users, known_users
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import check_schema, connect
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.followed_deletions import FollowedDeletions
from fedmem.storage.followed_runs import FollowedRuns
from fedmem.storage.job_removal import JobRemoval
from fedmem.storage.jobs import JobRow, JobStore, Lease
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore
from fedmem.storage.schedule_runs import ScheduleRuns
from fedmem.storage.schedules import ScheduleStore
from trainer.abandonable import ABANDONED, end_with_abandoned
from trainer.control import Control, Shutdown
from trainer.follower import Follower
from trainer.priority import step_back
from trainer.retention import Retention
from trainer.run_experiment import JobRun
from trainer.scheduler import Scheduler
from trainer.settings import Settings
from trainer.stores import Stores

logger = logging.getLogger(__name__)

SEEN_EVERY = 5.0  # seconds between two signs of life of an idle trainer
# What these log is no job's: a database that does not answer, jobs that are due, other runs of this machine.
BESIDE_JOBS = ("trainer.control", "trainer.scheduler", "trainer.follower", "fedmem.storage.followed_runs")
LOGGED = ("fedmem", "trainer")  # the loggers whose lines become the job's log


class Worker:
    """One trainer.

    Args:
        settings: where the database and the checkpoints are, and how leases are held.

    Raises:
        StorageError: if the database cannot be used.
        ConfigError: if what reads the bucket is not installed.
    """

    def __init__(self, settings: Settings, shutdown: Shutdown) -> None:
        self.settings, self.shutdown = settings, shutdown
        engine = connect(settings.database_url)
        check_schema(engine)
        self.stores = Stores(
            JobStore(engine), MetricStore(engine), CatalogueStore(engine), ErasureStore(engine), ModelStore(engine)
        )
        schedules = ScheduleStore(engine)
        runs = ScheduleRuns(schedules, settings.data_dir, settings.job_memory, settings.job_config)
        self._scheduler = Scheduler(schedules, runs, settings.poll_seconds)
        # A name of its own even where a container gives every process the same host and number.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._seen = 0.0
        self.runs = settings.runs()
        removal = JobRemoval(engine, self.runs)
        self._retention = Retention(removal, settings)
        forget = partial(erase_texts, settings.data_dir)
        deletions = FollowedDeletions(engine, settings.data_dir / ".deletions-trainer", forget)
        followed = FollowedRuns(engine, removal, deletions, known_users, erase_users)
        self._follower = Follower(followed, settings.poll_seconds)

    def run(self, *, until_idle: bool = False) -> None:
        """Claim and train until shutdown or, if asked, until no job is left."""
        logger.info("trainer %s waits for jobs", self.name)
        with self._scheduler, self._follower:
            self._train_all(until_idle=until_idle)
        self._quietly(lambda: self.stores.jobs.leave(self.name))
        logger.info("trainer %s ends", self.name)

    def _train_all(self, *, until_idle: bool) -> None:
        while not self.shutdown:
            self._retention.tidy()
            if not self._train_next():
                if until_idle and not self._anything_left():
                    break
                self.shutdown.wait(self.settings.poll_seconds)

    def _train_next(self) -> bool:
        """Train a job and say whether there was one. Wait while the database is away."""
        try:
            self._sign_of_life(None)
            asked = time.monotonic()
            claimed = self.stores.jobs.claim(self.name, self.settings.lease_seconds, self.settings.max_attempts)
        except StorageError as error:
            logger.error("no job can be claimed: %s", error)
            return False
        if claimed is None:
            return False
        self._train(*claimed, asked)
        return True

    def _anything_left(self) -> bool:
        """Say whether a job is queued, or is trained by a trainer that might die."""
        return any(self.stores.jobs.page(state=state, limit=1) for state in ("queued", "running"))

    def _train(self, job: JobRow, lease: Lease, asked: float) -> None:
        self._sign_of_life(job.id)
        with (
            about(job=job.id, dataset=job.dataset),
            _log_of(self.stores.jobs, lease),
            Control(self.stores.jobs, lease, self.settings.lease_seconds, self.shutdown, asked) as control,
        ):
            JobRun(self.stores, self.runs, self.settings, job, lease, control).run()
        give_back()
        self._sign_of_life(None)
        self._retention.tidy(now=True)

    def _sign_of_life(self, job_id: int | None) -> None:
        """Report at once with a job, and now and then without; while it trains, the lease's heartbeat does so."""
        if job_id is not None or time.monotonic() - self._seen > SEEN_EVERY:
            self._quietly(lambda: self.stores.jobs.seen(self.name, job_id))
            self._seen = time.monotonic() if job_id is None else 0.0

    def _quietly(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StorageError as error:
            logger.warning("%s", error)


def serve_jobs(settings: Settings, *, until_idle: bool = False) -> None:
    """Be a trainer: at low priority, until SIGTERM, Ctrl-C or, if asked, until no job is left.

    Raises:
        StorageError: if the database cannot be used.
    """
    shutdown = Shutdown()
    stop_on_signals(shutdown)
    step_back(settings.trainer_nice)
    bound_memory(machine_memory() if settings.job_memory is None else settings.job_memory)
    Worker(settings, shutdown).run(until_idle=until_idle)
    end_with_abandoned()


@contextmanager
def _log_of(jobs: JobStore, lease: Lease) -> Iterator[None]:
    """Copy the log lines of what happens meanwhile to the job's log."""
    handler = _JobLog(jobs, lease)
    loggers = [logging.getLogger(name) for name in LOGGED]
    for each in loggers:
        each.addHandler(handler)
    try:
        yield
    finally:
        for each in loggers:
            each.removeHandler(handler)


class _JobLog(logging.Handler):
    """Writes log lines to a job's log, while the lease is held; a line that the database does not take is lost."""

    def __init__(self, jobs: JobStore, lease: Lease) -> None:
        super().__init__(logging.INFO)
        self._jobs, self._lease = jobs, lease
        self.addFilter(lambda record: record.name not in BESIDE_JOBS)
        self.addFilter(lambda record: record.threadName != ABANDONED)

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(FedMemError):  # it is in the process's own log
            self._jobs.log(self._lease, _level(record.levelno), record.getMessage())


def _level(number: int) -> LogLevel:
    if number >= logging.ERROR:
        return "ERROR"
    return "WARNING" if number >= logging.WARNING else "INFO"


def stop_on_signals(shutdown: Shutdown) -> None:
    """Let SIGTERM and Ctrl-C ask for a shutdown; a second one ends the process at once, and the lease runs out."""

    def ask(number: int, frame: FrameType | None) -> None:
        if shutdown:
            os._exit(130)
        shutdown.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
