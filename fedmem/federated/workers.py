"""Worker processes, every one a ``ClientHost``, given groups of users in turn.

They compute in as many threads as the process that starts them: in one, where the command line does.

The answers come back in the order of the groups, so that their sum does not depend on the number of workers.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import TrainingError, disk_error
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.client_host import ClientHost
from fedmem.federated.messages import Broadcast
from fedmem.federated.start import build_model
from fedmem.interruption import heed, heeding
from fedmem.memory.memory_store import MemoryStore

UserIndices = npt.NDArray[np.int64]
STOPPING = {signal.SIGINT, signal.SIGTERM}
LOOK = 2.0  # seconds from one look at the workers to the next
HEED = 0.2  # seconds from one look whether to go on to the next
PATIENCE = 60  # seconds; a chunk takes a few
Snapshot = tuple[ExperimentConfig, FederatedDataset, ItemFeatures, UserFeatures, MemoryStore, int]


class Workers:
    """So many processes that do the work of a host.

    Args:
        host: what each of them is a copy of.
        count: how many.
        folder: where what the host is made of, and every broadcast, is put for them to read.
    """

    def __init__(self, host: ClientHost, count: int, folder: Path) -> None:
        self.count = count
        self.folder = folder
        self._last: tuple[Broadcast, Path] | None = None
        self._answered = False  # whether any worker ever did
        snapshot = host.config, host.dataset, host.features, host.user_features, host.store, host.first
        context = multiprocessing.get_context("spawn")
        self._abandoned = context.Event()
        # By a file: over a pipe it waits for each worker in turn until it has its libraries, deaf to a stop.
        arguments = self._written("host", snapshot), torch.get_num_threads(), self._abandoned
        self._pool = ProcessPoolExecutor(count, context, initializer=_start, initargs=arguments)

    def each(self, what: str, groups: Iterable[UserIndices], broadcast: Broadcast, *rest: Any) -> Iterator[Any]:
        """Yield the hosts' answers to ``what(group, broadcast, *rest)``, in the groups' order.

        Raises:
            TrainingError: if a worker dies.
        """
        path = self._published(broadcast)
        running: deque[Future[Any]] = deque()
        self._abandoned.clear()
        try:
            for group in groups:
                with _signals_wait():  # a worker may be started here, and inherits what waits
                    running.append(self._pool.submit(_answer, what, group, path, rest))
                if len(running) > 2 * self.count:  # more would only wait, and hold memory
                    yield self._next(running)
            while running:
                yield self._next(running)
        except BrokenProcessPool:
            raise TrainingError(
                "a worker process died, perhaps for want of memory: lower federated.chunk_size or workers and resume."
            ) from None
        finally:
            if running:
                self._give_up()
            # So that none writes into a round that was abandoned. None is cancelled: a pool that breaks stumbles over
            # those (before Python 3.12), and leaves its other workers alive and futures open for ever.
            wait(running, PATIENCE)

    def _next(self, running: "deque[Future[Any]]") -> Any:
        """Return the result of the oldest, which stays among those that are running until it is there."""
        answer = self._result(running[0])
        self._answered = True
        running.popleft()
        return answer

    def _give_up(self) -> None:
        """Let what is running end soon; workers that may not even have started, for which nothing else is heard."""
        self._abandoned.set()
        if not self._answered:
            self._kill()

    def _kill(self) -> None:
        for process in [*(self._pool._processes or {}).values()]:  # None once the pool was shut down
            process.kill()

    def _result(self, future: Future[Any]) -> Any:
        """Return a future's result, or raise BrokenProcessPool, even if a worker died while it wrote its answer.

        The pool then waits for the rest of the answer as long as any process could write it: other workers, and itself.
        """
        looked = time.monotonic()
        while not wait([future], HEED).done:
            heed()
            if time.monotonic() - looked < LOOK:
                continue
            looked = time.monotonic()
            died = any(process.exitcode is not None for process in [*self._pool._processes.values()])
            if died and not wait([future], LOOK).done:  # the pool had time enough to notice by itself
                self._kill()
                self._pool._result_queue._writer.close()  # type: ignore[attr-defined]
                break
        return future.result()

    def _published(self, broadcast: Broadcast) -> Path:
        """Write a broadcast to a file and return its path; the file of the one before is removed."""
        if self._last is not None and self._last[0] is broadcast:
            return self._last[1]
        number = 0 if self._last is None else int(self._last[1].suffix[1:]) + 1
        path = self._written(f"broadcast.{number}", broadcast)
        if self._last is not None:
            self._last[1].unlink()
        self._last = broadcast, path
        return path

    def _written(self, name: str, value: Broadcast | Snapshot) -> Path:
        path = self.folder / name
        try:
            with path.open("wb") as file:
                pickle.dump(value, file, protocol=pickle.HIGHEST_PROTOCOL)
        except OSError as error:
            raise disk_error(error, f"{path}: cannot be written ({error.strerror}). Make room and resume.") from None
        return path

    def close(self) -> None:
        """End the processes, at once: one that has not begun hears nothing, and none holds what is needed after it."""
        self._kill()
        self._pool.shutdown()


class _Abandoned(Exception):
    """The round that this worker works for was given up."""


_host: ClientHost
_abandoned: Event
_received: tuple[Path, Broadcast] | None = None


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Leave Ctrl-C and SIGTERM to the parent, even while a worker does not yet ignore them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(host: Path, threads: int, abandoned: Event) -> None:
    """Set up a worker."""
    global _host, _abandoned
    _abandoned = abandoned
    os.setpgrp()  # out of the group that a terminal or a supervisor sends its signals to
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # forgets those that have come already
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the pool's own way to end a worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    config, dataset, features, user_features, store, first = pickle.loads(
        host.read_bytes()
    )  # of this run's own process
    model = build_model(config, dataset.num_items, features)
    _host = ClientHost(config, dataset, features, user_features, model, store, first)


def _end_with_parent() -> None:
    """End the process with its parent, which cannot end its workers when it is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _answer(what: str, group: UserIndices, path: Path, rest: tuple[Any, ...]) -> Any:
    global _received
    if _received is None or _received[0] != path:
        _received = path, pickle.loads(path.read_bytes())  # of this run's own process, in a folder of its own
    with heeding(_end_if_abandoned):
        heed()
        return getattr(_host, what)(group, _received[1], *rest)


def _end_if_abandoned() -> None:
    if _abandoned.is_set():
        raise _Abandoned
