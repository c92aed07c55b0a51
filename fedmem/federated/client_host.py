"""ClientHost: the devices of one process. It trains and evaluates the clients that it is asked for."""

import functools
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.evaluation.evaluate import ranks_of_several
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.aggregation import weighted
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_trainer import ChunkTrainer
from fedmem.federated.client import FedMemClient
from fedmem.federated.masking import (
    MeasuredRanks,
    Ranks,
    masked_metrics,
    masked_transitions,
    masked_updates,
    metrics_of,
)
from fedmem.federated.messages import Broadcast, ClientUpdate, MaskedSum, MetricSums, Session, UpdateSum
from fedmem.federated.parameters import load_parameters, twin
from fedmem.federated.postprocessing import Postprocessors, needs_single_clients, postprocessed_update
from fedmem.federated.scoring import NO_TRANSITIONS, ModelScorer, Strengths, UserContext
from fedmem.federated.start import item_blocks
from fedmem.memory.count_sketch import sketched
from fedmem.memory.memory_store import MemoryStore
from fedmem.memory.transitions import TransitionCounts
from fedmem.model.recommendation_losses import LOSSES
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.randomness import numpy_generator

UserIndices = npt.NDArray[np.int64]
Contexts = Mapping[int, UserContext]


@dataclass(eq=False)
class ClientScorer:
    """Each user's scores as its own client computes them, with the transition memory at each strength.

    Attributes:
        scorer: the broadcast's model.
        contexts: what each user's client holds besides the history.
        strengths: the weights of the transition memory.
    """

    scorer: ModelScorer
    contexts: Contexts
    strengths: Sequence[Strengths] = (NO_TRANSITIONS,)

    def scores(
        self, users: npt.NDArray[np.integer], histories: Sequence[npt.NDArray[np.integer]]
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Score all items for users [B] with their histories, at one strength after another: [B, I + 1]."""
        parts = self.scorer.parts([self.contexts[int(user)] for user in users], histories)
        for strengths in self.strengths:
            yield parts.fused([strengths.after(history) for history in histories])


class ClientHost:
    """The clients of one process; their memories are read from the store and written back.

    Args:
        config: the run's configuration.
        dataset: all users' sequences.
        features: frozen item features.
        user_features: encoded preference texts.
        model: is given every broadcast's parameters.
        store: the clients' memories.
        first: the number that user 0 has among all clients of the run, from which its randomness is derived.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: FederatedDataset,
        features: ItemFeatures,
        user_features: UserFeatures,
        model: UR4RecV2MoE,
        store: MemoryStore,
        first: int = 0,
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.features = features
        self.user_features = user_features
        self.model = model
        self.store = store
        self.first = first
        self.trainer = ChunkTrainer(config, model, item_blocks(features))
        self._evaluated = twin(model)
        self._scorer: tuple[Broadcast, ModelScorer] | None = None

    def train(
        self,
        users: UserIndices,
        broadcast: Broadcast,
        postprocessors: Postprocessors = (),
        session: Session | None = None,
    ) -> UpdateSum | MaskedSum:
        """Let a chunk of clients take part in a round; what comes of it counts from the next round on.

        In a session each of them masks what it sends. Where sums are secure they hand on transitions by themselves.
        """
        chunk = self.chunk(users, broadcast.round)
        if session is not None:
            masked = self._masked(chunk, broadcast, postprocessors, session)
            self.store.write(users, chunk.memories, chunk.handed_on, broadcast.round + 1)
            return masked
        if needs_single_clients(postprocessors) or self._gathers:
            total = self._one_by_one(chunk, broadcast, postprocessors)
        else:
            total = self.trainer.participate(chunk, broadcast)
        handed_on = chunk.handed_on
        if self.config.uses_transitions and not self.config.secure_sums.enabled:
            total, handed_on = self._with_transitions(total, chunk), chunk.samples
        if self.config.uses_memory or self.config.uses_transitions:
            self.store.write(users, chunk.memories, handed_on, broadcast.round + 1)
        return total

    def _with_transitions(self, total: UpdateSum, chunk: Chunk) -> UpdateSum:
        """Add the transitions that the clients have not handed on yet, of all of them together."""
        new = self._new_transitions(chunk)
        if self.config.releases_transitions:  # all send a block, for the ledger would count who has something new
            return total.with_transitions(new, float(len(chunk) * new.block_bytes))
        senders = int((chunk.samples > chunk.handed_on).sum())
        return total.with_transitions(new, float(senders * new.num_bytes))

    def _new_transitions(self, chunk: Chunk) -> TransitionCounts:
        config = self.config
        new = chunk.new_transitions(config.transitions.window, bounded=config.releases_transitions)
        return sketched(new, config.transitions)

    def chunk(self, users: UserIndices, round_number: int) -> Chunk:
        """Gather what some users' devices hold after a number of completed rounds."""
        data = [self.dataset.client(user) for user in users.tolist()]
        memories, handed_on = self.store.read(users, round_number), self.store.handed_on(users, round_number)
        return Chunk((users + self.first).tolist(), data, memories, self.user_features.of_all(users), handed_on)

    def _one_by_one(self, chunk: Chunk, broadcast: Broadcast, postprocessors: Postprocessors) -> UpdateSum:
        """Have each client send an update of its own, as the postprocessors leave it."""
        return functools.reduce(operator.add, self._each(chunk, broadcast, postprocessors))

    def _each(self, chunk: Chunk, broadcast: Broadcast, postprocessors: Postprocessors) -> Iterator[UpdateSum]:
        """Yield what each client sends, weighted."""
        if LOSSES[self.config.training.loss].whole_catalogue:
            updates: Iterable[ClientUpdate] = self.trainer.participate_each(chunk, broadcast)
        else:  # each touches item rows of its own
            updates = (self._alone(one, broadcast) for one in chunk.singly())
        for user, update in zip(chunk.users, updates, strict=True):
            rng = numpy_generator(self.config.seed, "postprocessed update", broadcast.round, user)
            sent = postprocessed_update(postprocessors, update, rng)
            one = weighted(sent, self.config.federated, self.config.fedmem)
            yield one.as_one_sender() if self._gathers else one

    @property
    def _gathers(self) -> bool:
        """Whether the server sees each client's change; of another owner's node it sees the mean."""
        return self.config.gathers_changes and self.config.clients_here

    def _alone(self, one: Chunk, broadcast: Broadcast) -> ClientUpdate:
        return FedMemClient(self.config.fedmem, one).participate(self.trainer, broadcast)

    def _masked(
        self, chunk: Chunk, broadcast: Broadcast, postprocessors: Postprocessors, session: Session
    ) -> MaskedSum:
        """Have each client mask an update of its own."""
        sent = zip(chunk.users, self._each(chunk, broadcast, postprocessors), strict=True)
        return masked_updates(self.config.secure_sums, self.config.seed, session, sent)

    def hand_on(
        self, users: UserIndices, broadcast: Broadcast, session: Session | None = None
    ) -> MaskedSum | TransitionCounts:
        """Let clients hand on their new transitions, after those of them that train have trained; masked in a session.

        Without one it is their owner's node that masks the sum.
        """
        chunk, after = self.chunk(users, broadcast.round), broadcast.round + 1
        total = self._new_transitions(chunk) if session is None else self._masked_transitions(chunk, session)
        self.store.write(users, self.store.read(users, after), chunk.samples, after)
        return total

    def _masked_transitions(self, chunk: Chunk, session: Session) -> MaskedSum:
        sent = ((one.users[0], self._new_transitions(one)) for one in chunk.singly())
        return masked_transitions(self.config.seed, session, sent)

    def evaluate(
        self,
        users: UserIndices,
        broadcast: Broadcast,
        split: Literal["validation", "test"],
        session: Session | None = None,
    ) -> MetricSums | MaskedSum:
        """Let these clients rank their own targets, with their own histories and memories; each masks in a session."""
        ranks = self._ranks(users, broadcast, split)
        if session is not None:
            return masked_metrics(
                self.config.evaluation, self.config.seed, session, (users + self.first).tolist(), ranks
            )
        return metrics_of(self.config.evaluation, ranks)

    def _ranks(self, users: UserIndices, broadcast: Broadcast, split: Literal["validation", "test"]) -> MeasuredRanks:
        """Rank these clients' targets at every weight of the transition memory.

        After short histories too, as those of new users, who have no memory and no preference text.
        """
        scorer, new = self._scorer_of(broadcast), dict.fromkeys(users.tolist(), UserContext())

        def ranks(
            contexts: Contexts, short: Mapping[int, float], interactions: int | None = None
        ) -> dict[float, Ranks]:
            one = ClientScorer(scorer, contexts, [Strengths(strength, short) for strength in broadcast.tried])
            found = ranks_of_several(self.dataset, one, split, users, interactions)
            return dict(zip(broadcast.tried, found, strict=True))

        whole = ranks(self.contexts(users, broadcast.round), broadcast.short_strengths)
        return MeasuredRanks(whole, {length: ranks(new, {}, length) for length in broadcast.short_histories})

    def contexts(self, users: UserIndices, round_number: int) -> dict[int, UserContext]:
        """Gather what is known of these users besides their histories after a number of completed rounds."""
        if not self.config.uses_memory:
            return dict.fromkeys(users.tolist(), UserContext())
        memories = self.store.read(users, round_number)
        return {
            user: UserContext(memories.entries(row), self.user_features.of(user))
            for row, user in enumerate(users.tolist())
        }

    def _scorer_of(self, broadcast: Broadcast) -> ModelScorer:
        if self._scorer is None or self._scorer[0] is not broadcast:
            load_parameters(self._evaluated, broadcast.parameters)
            scorer = ModelScorer(self._evaluated, broadcast.global_memory, transitions=broadcast.transitions)
            self._scorer = broadcast, scorer
        return self._scorer[1]
