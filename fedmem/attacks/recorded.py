"""What is recorded: of a client, and of a cohort whose updates are added up."""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import FederatedConfig, FedMemConfig
from fedmem.federated.aggregation import weighted
from fedmem.federated.messages import ClientUpdate, UpdateSum
from fedmem.memory.transitions import TransitionCounts

Items = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class RecordedClient:
    """What one client sends in a round, and what it holds.

    Attributes:
        user: the user's index.
        update: the message; where sums are secure its masked words, read as numbers.
        again: what the same client would send in the round after, likewise.
        history: the training history, item indices, oldest first.
        remembered: the items of the memory that the prototypes were distilled from.
        transitions: the counts of its own history, which a sum over clients holds, likewise.
    """

    user: int
    update: ClientUpdate
    again: ClientUpdate
    history: Items
    remembered: Items
    transitions: TransitionCounts


@dataclass(frozen=True, eq=False)
class RecordedCohort:
    """Clients whose messages are added up.

    Attributes:
        clients: the clients.
        total: the sum that the server reads, transitions included.
    """

    clients: tuple[RecordedClient, ...]
    total: UpdateSum

    @classmethod
    def of(
        cls, clients: Sequence[RecordedClient], federated: FederatedConfig, fedmem: FedMemConfig
    ) -> "RecordedCohort":
        """Add up what clients send in the clear."""
        total = functools.reduce(operator.add, [weighted(c.update, federated, fedmem) for c in clients])
        transitions = functools.reduce(operator.add, [client.transitions for client in clients])
        return cls(tuple(clients), total.with_transitions(transitions, 0.0))
