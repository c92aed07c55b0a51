"""Ray's actors, on one machine or on many: each holds the histories and memories of its clients as long as a run lives.

A client belongs to the actor of its shard. To an actor go the numbers of its clients that are asked and what
``messages`` has for them, and back come their answers, in the order of the groups, so that no sum depends on the number
of actors. Beside that memories cross on their way to and from a checkpoint, and nothing else.

An actor that dies is started again by Ray, opens the file with its clients' memories, and does again what it had not
answered. Nothing counts twice: a round writes a version of a memory that it does not read, and adds an answer once.
"""

import itertools
import logging
import pickle
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedmem.errors import NodesAwayError
from fedmem.federated.client_host import ClientHost
from fedmem.federated.messages import Broadcast
from fedmem.federated.ray_cluster import Cluster
from fedmem.federated.ray_holder import Holder, held_by
from fedmem.federated.ray_memories import ActorMemories, Asked
from fedmem.interruption import heed

logger = logging.getLogger(__name__)

UserIndices = npt.NDArray[np.int64]
HEED = 0.2  # seconds from one look whether to go on to the next
SAID_EVERY = 600  # looks
PATIENCE = 60.0  # seconds for answers that are no longer wanted
RESTARTS = 10  # of an actor in a run; if it dies again, the cause stays, such as want of memory


def shard_of(clients: UserIndices, shards: int) -> UserIndices:
    """Tell the shard of each client [C]."""
    return clients % shards


class Actors:
    """The actors that do the work of a host, each for clients of its own.

    Args:
        host: what all of them together are a copy of.
        folder: where the run has its working files.

    Raises:
        ConfigError: if Ray is not installed, or cannot be reached.
    """

    def __init__(self, host: ClientHost, folder: Path) -> None:
        self.count, self.shards = host.config.workers, host.config.federated.shards
        self._cluster = Cluster(self.count)
        self._ray = self._cluster.ray
        self._last: tuple[Broadcast, int, Any] | None = None
        self._held = [self._put_clients(host, number) for number in range(self.count)]  # for those started again
        self._actors = [self._started(held, folder.resolve(), number) for number, held in enumerate(self._held)]
        size = host.store.num_users, host.store.capacity, host.store.dim
        self.memories = ActorMemories(self._ask, self.count, self.holder_of, *size)

    def _put_clients(self, host: ClientHost, number: int) -> Any:
        users = np.arange(host.dataset.num_users)
        return self._ray.put(held_by(host, users[self.holder_of(users) != number].tolist()))

    def _started(self, held: Any, folder: Path, number: int) -> Any:
        kept = self._ray.remote(num_cpus=1, max_restarts=RESTARTS, max_task_retries=-1)(Holder)
        return kept.remote(held, torch.get_num_threads(), folder, number)

    def holder_of(self, clients: UserIndices) -> UserIndices:
        """Tell which actor each client [C] belongs to."""
        return shard_of(clients, self.shards) % self.count

    def each(self, what: str, groups: Iterable[UserIndices], broadcast: Broadcast, *rest: Any) -> Iterator[Any]:
        """Yield the hosts' answers to ``what(group, broadcast, *rest)``, in the groups' order.

        Raises:
            NodesAwayError: if an actor is lost.
        """
        number, sent = self._put(broadcast)
        running: deque[Any] = deque()
        try:
            for group in groups:
                actor = self._actors[int(self.holder_of(group[:1])[0])]
                running.append(actor.answer.remote(pickle.dumps((what, group, rest)), number, sent))
                if len(running) > 2 * self.count:  # more would only wait, and hold memory
                    yield self._next(running)
            while running:
                yield self._next(running)
        finally:
            self._give_up(list(running))

    def _put(self, broadcast: Broadcast) -> tuple[int, Any]:
        """Give Ray a broadcast, once; its number, and by what actors find it."""
        if self._last is None or self._last[0] is not broadcast:
            number = 0 if self._last is None else self._last[1] + 1
            self._last = broadcast, number, self._ray.put(pickle.dumps(broadcast))
        return self._last[1:]

    def _next(self, running: deque[Any]) -> Any:
        """Return the answer of the oldest, which stays among those that are running until it is there."""
        answer = self._result(running[0])
        running.popleft()
        return answer

    def _ask(self, asked: Sequence[Asked]) -> list[Any]:
        """Ask actors' stores, all at the same time; their answers in that order."""
        sent = [self._actors[number].remember.remote(pickle.dumps((what, given))) for number, what, given in asked]
        return [self._result(one) for one in sent]

    def _result(self, sent: Any) -> Any:
        for look in itertools.count(1):
            if self._ray.wait([sent], timeout=HEED)[0]:
                break
            heed()
            if look % SAID_EVERY == 0:
                logger.warning("Ray takes its time: it needs a free processor for each of %d workers", self.count)
        try:
            return pickle.loads(self._ray.get(sent))
        except self._ray.exceptions.RayTaskError as error:  # a full disk, say
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise NodesAwayError(
                "a Ray actor is lost, and what its clients remember with it; perhaps its machine is away, or memory "
                "was short (lower federated.chunk_size or workers): resume from the last checkpoint "
                f"({_first_line(error)})"
            ) from None

    def _give_up(self, running: list[Any]) -> None:
        """Let what is running end, so that nothing writes into a round that was abandoned."""
        for sent in running:
            self._ray.cancel(sent)
        if running:
            self._ray.wait(running, num_returns=len(running), timeout=PATIENCE)

    def close(self) -> None:
        """End the actors, and the Ray that was started for them."""
        if not self._cluster.local:  # other machines may have files that nothing else removes
            gone = [actor.forget.remote() for actor in self._actors]
            self._ray.wait(gone, num_returns=len(gone), timeout=PATIENCE)
        for actor in self._actors:
            self._ray.kill(actor)
        self._cluster.end()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
