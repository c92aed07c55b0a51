"""Every trainable user of a snapshot, one after another: what ``SimulatedPopulation`` is compared with."""

import functools
import operator
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import Snapshot
from fedmem.federated.aggregation import weighted
from fedmem.federated.messages import Broadcast, UpdateSum
from fedmem.federated.start import build_model, item_blocks
from fedmem.memory.entries import MemoryEntries
from tests.reference.client import SlowClient
from tests.reference.memory import SlowMemory


class SlowPopulation:
    """The clients with their memories as they stand now, around a model in float64 if asked for."""

    def __init__(self, snapshot: Snapshot, *, double: bool = False) -> None:
        self.config = snapshot.config
        self.dataset = snapshot.dataset
        self.model = build_model(self.config, self.dataset.num_items, snapshot.features)
        if double:
            self.model.double()
        blocks, dim = item_blocks(snapshot.features), self.config.model.sasrec_hidden_dim
        self.clients = {
            user: SlowClient(
                user,
                self.dataset.client(user),
                SlowMemory(self.config.fedmem, dim),
                self.config,
                blocks,
                snapshot.user_features.of(user),
            )
            for user in self.dataset.trainable_users.tolist()
        }

    def train(
        self, clients: npt.NDArray[np.int64], broadcast: Broadcast, postprocessors=(), session=None
    ) -> Iterator[UpdateSum]:
        """Train the clients, long histories first; one sum for all of them."""
        assert not postprocessors
        ordered = clients[np.lexsort((clients, -self.dataset.lengths[clients]))]
        sent = (self.clients[user].participate(self.model, broadcast) for user in ordered.tolist())
        total = functools.reduce(
            operator.add, (weighted(update, self.config.federated, self.config.fedmem) for update in sent)
        )
        if self.config.uses_transitions:
            new = functools.reduce(operator.add, (self.clients[user].transitions() for user in ordered.tolist()))
            total = total.with_transitions(new, float(len(ordered) * new.num_bytes))
        yield total

    def restore(self, memories: Mapping[int, MemoryEntries]) -> None:
        """Give clients these memories."""
        for user, entries in memories.items():
            self.clients[user].memory.restore(entries)

    def memories(self) -> dict[int, MemoryEntries]:
        """What every client remembers that remembers anything."""
        return {user: client.memory.entries() for user, client in self.clients.items() if len(client.memory)}
