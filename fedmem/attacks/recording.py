"""Messages of single clients, recorded, and beside them what the clients hold, by which an attack is judged."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from fedmem.attacks.recorded import RecordedClient, RecordedCohort
from fedmem.attacks.secured import SecuredCohorts
from fedmem.attacks.successive_models import RecordedStep, steps
from fedmem.checkpoint import RunDirectory, Snapshot
from fedmem.contracts import NODES_ARE_NOT_RECORDED
from fedmem.errors import ConflictError
from fedmem.federated.chunk import Chunk
from fedmem.federated.client import FedMemClient
from fedmem.federated.messages import Broadcast
from fedmem.federated.round import broadcast_of
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import build_model, item_blocks
from fedmem.federated.state import ServerState
from fedmem.memory.count_sketch import sketched
from fedmem.memory.prototypes import FrozenItemBlocks
from fedmem.memory.transitions import TransitionCounts
from fedmem.modality import Modality
from fedmem.randomness import numpy_generator


@dataclass(frozen=True, eq=False)
class Recording:
    """The messages of some clients in one round of a trained run.

    Attributes:
        snapshot: what the run started from.
        state: the server before the round.
        cohorts: the clients, those with long histories first, in groups that are added up.
        steps: from the model to the next, had each of these groups been a round's cohort, and that which it would draw.
    """

    snapshot: Snapshot
    state: ServerState
    cohorts: tuple[RecordedCohort, ...]
    steps: tuple[RecordedStep, ...]

    @property
    def clients(self) -> tuple[RecordedClient, ...]:
        """All clients."""
        return tuple(client for cohort in self.cohorts for client in cohort.clients)

    @property
    def cohort_size(self) -> int:
        """How many clients are added up; in the last cohort there may be more."""
        return len(self.cohorts[0].clients)

    @property
    def masked(self) -> bool:
        """Whether what one client sends is masked."""
        return self.snapshot.config.secure_sums.enabled

    @property
    def num_items(self) -> int:
        """I."""
        return self.snapshot.dataset.num_items

    def catalogue(self) -> FrozenItemBlocks:
        """Gather the public knowledge of the items: their frozen features, and the id embeddings of the broadcast."""
        features, config = self.snapshot.features, self.snapshot.config
        model = build_model(config, self.num_items, features, self.state.parameters)
        with torch.no_grad():
            ids = model.item_table().embedding.float().cpu().numpy()
        frozen, everything = item_blocks(features), np.arange(len(ids)) > 0
        return FrozenItemBlocks(
            {**frozen.vectors, Modality.SEQUENTIAL: ids}, {**frozen.masks, Modality.SEQUENTIAL: everything}
        )


def record(directory: RunDirectory, num_clients: int, cohort: int) -> Recording:
    """Have clients of a run, drawn from its seed, take part in one more round; nothing of it is kept.

    They do so on the CPU, for the run may come from a machine that has a device which this one lacks.

    Args:
        directory: the run.
        num_clients: how many clients.
        cohort: how many of them are added up; where sums are secure, they mask what they send as in a round.

    Raises:
        CheckpointError: if there is no checkpoint.
        ConflictError: if the run's clients are at nodes, or were postprocessed, which is written down by name alone.
    """
    snapshot, last = directory.read_snapshot(), directory.read_record().last
    if not snapshot.config.clients_here:
        raise ConflictError(NODES_ARE_NOT_RECORDED)
    if snapshot.postprocessors:
        names = ", ".join(snapshot.postprocessors)
        raise ConflictError(f"what this run's clients send is postprocessed by {names}, so it cannot be sent again")
    snapshot = replace(snapshot, config=snapshot.config.model_copy(update={"device": "cpu"}))
    state = directory.checkpoints.read_server(last)
    with _population(directory, snapshot, last) as population:
        users = drawn_users(snapshot, num_clients)
        chunk = population.host.chunk(users, last)
        again = population.host.chunk(users, last)
        broadcast = broadcast_of(state)
        pairs = zip(chunk.singly(), again.singly(), strict=True)
        clients = [_recorded(population, broadcast, first, second) for first, second in pairs]
        cohorts = _cohorts(population, grouped(clients, cohort))
        together = [np.array([client.user for client in one.clients]) for one in cohorts]
        return Recording(snapshot, state, cohorts, steps(population, state, together))


def grouped(clients: Sequence[RecordedClient], size: int) -> list[Sequence[RecordedClient]]:
    """Put clients into groups of this size; those who are left over go to the last group."""
    ends = [*range(size, len(clients) - size + 1, size), len(clients)]
    return [clients[first:end] for first, end in itertools.pairwise([0, *ends])]


def _cohorts(population: SimulatedPopulation, groups: Sequence[Sequence[RecordedClient]]) -> tuple[RecordedCohort, ...]:
    """Add up what each group sends, masked where sums are secure."""
    config = population.config
    if not config.secure_sums.enabled:
        return tuple(RecordedCohort.of(group, config.federated, config.fedmem) for group in groups)
    secured = SecuredCohorts(config, population)
    return tuple(secured.seen(number, group) for number, group in enumerate(groups))


def drawn_users(snapshot: Snapshot, num_clients: int) -> npt.NDArray[np.int64]:
    """Draw trainable users without replacement, those with long histories first."""
    users, lengths = snapshot.dataset.trainable_users, snapshot.dataset.training_lengths
    rng = numpy_generator(snapshot.config.seed, "attacked clients")
    drawn = rng.choice(users, min(num_clients, len(users)), replace=False)
    return drawn[np.lexsort((drawn, -lengths[drawn]))]


@contextmanager
def _population(directory: RunDirectory, snapshot: Snapshot, round_number: int) -> Iterator[SimulatedPopulation]:
    """Give all clients what they held after a round."""
    dataset, features, config = snapshot.dataset, snapshot.features, snapshot.config
    model = build_model(config, dataset.num_items, features)
    config = config.model_copy(update={"workers": 1, "engine": "simulation"})
    population = SimulatedPopulation(config, dataset, features, snapshot.user_features, model)
    try:
        checkpoints = directory.checkpoints
        population.restore_memories(
            checkpoints.read_memories(round_number), round_number, checkpoints.read_handed_on(round_number)
        )
        yield population
    finally:
        population.close()


def _recorded(population: SimulatedPopulation, broadcast: Broadcast, one: Chunk, same: Chunk) -> RecordedClient:
    host, config = population.host, population.config
    client, later = FedMemClient(config.fedmem, one), FedMemClient(config.fedmem, same)
    update = client.participate(host.trainer, broadcast)
    again = later.participate(host.trainer, replace(broadcast, round=broadcast.round + 1))
    history = one.data[0].history
    return RecordedClient(
        user=one.users[0],
        update=update,
        again=again,
        history=history,
        remembered=one.memories.entries(0).items,
        transitions=sketched(
            TransitionCounts.of(
                [history], population.dataset.num_items, config.transitions.window, bounded=config.releases_transitions
            ),
            config.transitions,
        ),
    )
