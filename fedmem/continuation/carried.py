"""The state after a round of one run, as a run on a newer snapshot of the same data set goes on from it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import RunDirectory, Snapshot
from fedmem.continuation.clients import CarriedClients, Memories
from fedmem.continuation.parameters import CarriedParameters
from fedmem.continuation.renumbering import Renumbering
from fedmem.federated.state import ServerState
from fedmem.memory.handed_on import HandedOn
from fedmem.resumable import refuse_budgets


@dataclass(frozen=True, eq=False)
class CarriedState:
    """What goes over; nothing of it was validated on the newer data.

    Attributes:
        state: the server's, of the same round.
        memories: the clients', some at a time; can be read once.
        handed_on: how many interactions each user [U] has handed on, if there is a transition memory.
    """

    state: ServerState
    memories: Iterator[Memories]
    handed_on: npt.NDArray[np.int64] | None


def carried_over(directory: RunDirectory, round: int, snapshot: Snapshot, gone: Collection[str] = ()) -> CarriedState:
    """Carry a round of a run over to a snapshot that was taken with the run's own as ``like``.

    Args:
        directory: the run.
        round: which of its checkpoints.
        snapshot: the newer one.
        gone: users who were deleted and are still in the run's files; one of that id in the newer data is another.

    Raises:
        CheckpointError: if the run or the checkpoint is not there or damaged.
        ConfigError: if the run has given its data away under a budget.
    """
    before, checkpoints = directory.read_snapshot(), directory.checkpoints
    refuse_budgets(before.config.privacy)
    renumbering = Renumbering.of(before.dataset, snapshot.dataset, gone)
    state, handed_on = checkpoints.read_server(round), checkpoints.read_handed_on(round)
    parameters = CarriedParameters(snapshot.config, before.features, snapshot.features, renumbering)
    clients = CarriedClients(before.dataset, snapshot.dataset, renumbering, snapshot.config.transitions)
    transitions = None
    if snapshot.config.uses_transitions:
        stored = None if state.transitions is None or handed_on is None else HandedOn(state.transitions, handed_on)
        found = clients.handed_on(stored)
        transitions, handed_on = found.counts, found.lengths
    moved = replace(
        state,
        parameters=parameters.weights(state.parameters),
        averaged=parameters.weights(state.averaged),
        optimizer=parameters.moments(state.parameters, state.optimizer),
        transitions=transitions,
        new_transitions=None,
    )
    return CarriedState(moved, clients.memories(checkpoints.read_memories(round)), handed_on)
