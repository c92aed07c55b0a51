"""All clients of a data set on one machine: the population that the server trains and evaluates.

Nothing crosses between the two but messages; the disk and memory of this machine stand in for the devices'.
"""

import itertools
import shutil
import tempfile
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import disk_error
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.chunk_sizes import ChunkSizes
from fedmem.federated.client_host import ClientHost
from fedmem.federated.masking import device
from fedmem.federated.messages import Broadcast, MaskedSum, MetricSums, Session, UpdateSum
from fedmem.federated.postprocessing import Postprocessors
from fedmem.federated.ray_actors import Actors, shard_of
from fedmem.federated.workers import Workers
from fedmem.memory.count_sketch import sketched
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.memory.memory_store import MemoryStore
from fedmem.memory.transitions import TransitionCounts
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.secure_sums.client import MaskingClient

UserIndices = npt.NDArray[np.int64]

SCRATCH = ".scratch-"
EVALUATED_TOGETHER = 256  # users; fixed, so that sums do not depend on who computes them
STORED_TOGETHER = 1024  # memories that are held at once on their way to or from a checkpoint


class SimulatedPopulation:
    """Every trainable user of a data set as a client.

    Args:
        config: the run's configuration.
        dataset: all users' sequences.
        features: frozen item features.
        user_features: encoded preference texts.
        model: takes the parameters of every broadcast.
        scratch: the folder in which the clients' memories get a temporary one; the system's own if None.
        memories: the file that keeps the memories, where they outlast this object.
        first: the number that user 0 has among all clients of the run, where this is a part of them.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: FederatedDataset,
        features: ItemFeatures,
        user_features: UserFeatures,
        model: UR4RecV2MoE,
        *,
        scratch: Path | None = None,
        memories: Path | None = None,
        first: int = 0,
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.model = model
        self.chunk_sizes = ChunkSizes.of(config, features)
        folder = _scratch_folder(scratch)
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        dim = config.model.sasrec_hidden_dim
        own = MemoryStore(memories or folder / "memories", dataset.num_users, config.fedmem.memory_capacity, dim)
        self.host = ClientHost(config, dataset, features, user_features, model, own, first)
        self.workers = self._workers(folder)
        self.store = self.workers.memories if isinstance(self.workers, Actors) else own
        self._devices: dict[int, MaskingClient] = {}  # of the last session

    def close(self) -> None:
        """End the worker processes and forget the clients' memories."""
        if self.workers is not None:
            self.workers.close()
        self.host.store.close()
        self._remove()

    def _workers(self, folder: Path) -> Workers | Actors | None:
        if self.config.engine == "ray":
            return Actors(self.host, folder)
        return Workers(self.host, self.config.workers, folder) if self.config.workers > 1 else None

    def train(
        self,
        clients: UserIndices,
        broadcast: Broadcast,
        postprocessors: Postprocessors = (),
        session: Session | None = None,
    ) -> Generator[UpdateSum | MaskedSum, None, None]:
        """Train the clients; chunks of one shard and similar history length, planned from the cohort alone."""
        yield from self._each("train", self._planned(clients), broadcast, postprocessors, session)

    def _planned(self, clients: UserIndices) -> Iterator[UserIndices]:
        return _in_turns(map(self._chunks, self._by_shard(clients)))

    def _by_shard(self, clients: UserIndices) -> list[UserIndices]:
        shards = self.config.federated.shards
        return [clients[shard_of(clients, shards) == shard] for shard in range(shards)]

    def _chunks(self, clients: UserIndices) -> Iterator[UserIndices]:
        """Plan chunks of these clients, those with long histories first."""
        lengths = self.dataset.training_lengths[clients]
        order = np.lexsort((clients, -lengths))
        return self.chunk_sizes.chunks(clients[order], lengths[order])

    def having_transitions(self, round_number: int) -> UserIndices:
        """Tell which clients have something to hand on to the transition memory after a number of completed rounds."""
        users = self.dataset.trainable_users
        return users[self.dataset.training_lengths[users] > self.store.all_handed_on(round_number)[users]]

    def hand_on(self, clients: UserIndices, broadcast: Broadcast, session: Session) -> Generator[MaskedSum, None, None]:
        """Have these clients, after the round's training, hand on their new transitions in a session."""
        yield from self._each("hand_on", self._planned(clients), broadcast, session)

    def handed_on_together(self, clients: UserIndices, broadcast: Broadcast) -> TransitionCounts:
        """Have them hand on the same to their owner, who sends a sum over all of its users."""
        none = sketched(TransitionCounts.none(self.dataset.num_items), self.config.transitions)
        return sum(self._each("hand_on", self._planned(clients), broadcast), none)

    def evaluating(self) -> UserIndices:
        """Tell which clients evaluate."""
        return self.dataset.evaluated_users

    def evaluate(
        self, broadcast: Broadcast, split: Literal["validation", "test"], session: Session | None = None
    ) -> Generator[MetricSums | MaskedSum, None, None]:
        """Let every client rank its own target with its own history and memory; sums over groups of clients."""
        of_shards = self._by_shard(self.dataset.evaluated_users)
        groups = _in_turns(_groups(users, EVALUATED_TOGETHER) for users in of_shards)
        yield from self._each("evaluate", groups, broadcast, split, session)

    def announce_keys(self, purpose: str, number: int, clients: UserIndices) -> Mapping[int, bytes]:
        """Have clients draw secrets for a session; their public keys, by client."""
        self._devices = {client: device(self.config.seed, purpose, number, client) for client in clients.tolist()}
        return {client: one.public_key for client, one in self._devices.items()}

    def share_secrets(self, session: Session) -> None:
        """Have clients give their neighbours shares of their secrets."""
        for owner, one in self._devices.items():
            for holder, shares in one.shares(session).items():
                self._devices[holder].hold(owner, shares)

    def reveal_shares(self, session: Session, survivors: frozenset[int]) -> Mapping[int, Mapping[int, int]]:
        """Have those whose words arrived reveal what takes the masks off the sum."""
        return {client: self._devices[client].reveal(survivors) for client in sorted(survivors)}

    def _each(self, what: str, groups: Iterable[UserIndices], *arguments: Any) -> Iterator[Any]:
        """Yield the host's answers for each group of users, in their order, wherever they are computed."""
        if self.workers is not None:
            yield from self.workers.each(what, groups, *arguments)
        else:
            yield from (getattr(self.host, what)(group, *arguments) for group in groups)

    def memories(self, round_number: int) -> Iterator[dict[int, MemoryEntries]]:
        """Read what every client remembers after a number of completed rounds, by user index, some users at a time."""
        yield from self._stored(self.store.occupied(self.dataset.trainable_users, round_number), round_number)

    def changed_memories(self, round_number: int) -> Iterator[dict[int, MemoryEntries]]:
        """Read the same of the clients whose memory this last round has written."""
        yield from self._stored(self.store.changed(self.dataset.trainable_users, round_number), round_number)

    def _stored(self, holders: UserIndices, round_number: int) -> Iterator[dict[int, MemoryEntries]]:
        for users in _groups(holders, STORED_TOGETHER):
            found = self.store.read(users, round_number)
            yield {user: found.entries(row) for row, user in enumerate(users.tolist())}

    def handed_on(self, round_number: int) -> npt.NDArray[np.int64] | None:
        """Read how many interactions each user [U] had handed on; None without a transition memory."""
        return self.store.all_handed_on(round_number) if self.config.uses_transitions else None

    def restore_memories(
        self,
        memories: Iterable[Mapping[int, MemoryEntries]],
        round_number: int,
        handed_on: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Give every client what it held after a round; a client whose memory is not named had none."""
        handed_on = np.zeros(self.dataset.num_users, np.int64) if handed_on is None else handed_on
        self.store.clear()
        for users in _groups(np.flatnonzero(handed_on), STORED_TOGETHER):
            nothing = MemoryArrays.empty(len(users), self.store.capacity, self.store.dim)
            self.store.write(users, nothing, handed_on[users], round_number)
        for some in memories:
            users = np.array(list(some), np.int64)
            arrays = MemoryArrays.of(list(some.values()), self.store.capacity, self.store.dim)
            self.store.write(users, arrays, handed_on[users], round_number)


def _scratch_folder(place: Path | None) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=SCRATCH, dir=place))
    except OSError as error:
        raise disk_error(
            error,
            f"{place}: no working files can be put there ({error.strerror}). Make room, or choose another folder.",
        ) from None


def _in_turns(of_shards: Iterable[Iterator[UserIndices]]) -> Iterator[UserIndices]:
    """Take groups of one shard after the other, so that whoever holds one of them has work all the time."""
    for turn in itertools.zip_longest(*of_shards):
        yield from (group for group in turn if group is not None)


def _groups(users: UserIndices, size: int) -> Iterator[UserIndices]:
    return (users[first : first + size] for first in range(0, len(users), size))
