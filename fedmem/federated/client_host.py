"""ClientHost: the devices of one process. It trains and evaluates the clients that it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.evaluation.evaluate import evaluate
from fedmem.evaluation.metric_table import MetricSums
from fedmem.features.store import ItemFeatures, UserFeatures
from fedmem.federated.aggregation import CohortSum
from fedmem.federated.chunk import Chunk
from fedmem.federated.client import FedMemClient
from fedmem.federated.cohort import CohortTrainer
from fedmem.federated.messages import Broadcast
from fedmem.federated.parameters import load_parameters, twin
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.federated.start import item_blocks
from fedmem.memory.local_memory import LocalDynamicMemory, MemoryEntries
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.memory.memory_store import MemoryStore
from fedmem.model.recommender import UR4RecV2MoE

UserIndices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClientScorer:
    """Each user's scores as its own client computes them."""

    scorer: ModelScorer
    contexts: Mapping[int, UserContext]

    def score(
        self, users: npt.NDArray[np.integer], histories: Sequence[npt.NDArray[np.integer]]
    ) -> npt.NDArray[np.float32]:
        """Scores [B, I + 1] of users [B] with their histories."""
        return self.scorer.score([self.contexts[int(user)] for user in users], histories)


class ClientHost:
    """The clients of one process; their memories are read from the store and written back.

    Args:
        config: the run's configuration.
        dataset: all users' sequences.
        features: frozen item features.
        user_features: encoded preference texts.
        model: is given every broadcast's parameters.
        store: the clients' memories.
        reference: train one client at a time.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        dataset: FederatedDataset,
        features: ItemFeatures,
        user_features: UserFeatures,
        model: UR4RecV2MoE,
        store: MemoryStore,
        *,
        reference: bool = False,
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.features = features
        self.user_features = user_features
        self.model = model
        self.store = store
        self.reference = reference
        self._blocks = item_blocks(features)
        self._trainer = CohortTrainer(config, model, self._blocks)
        self._evaluated = twin(model)
        self._scorer: tuple[Broadcast, ModelScorer] | None = None

    def train(self, users: UserIndices, broadcast: Broadcast) -> CohortSum:
        """A chunk of clients takes part in a round; what comes of it counts from the next round on."""
        memories = self.store.read(users, broadcast.round)
        if self.reference:
            found = self._one_after_another(users, memories, broadcast)
        else:
            data = [self.dataset.client(user) for user in users.tolist()]
            chunk = Chunk(users.tolist(), data, memories, self.user_features.of_all(users))
            found = self._trainer.train(chunk, broadcast)
        if self.config.uses_memory:
            self.store.write(users, memories, broadcast.round + 1)
        return found

    def _one_after_another(self, users: UserIndices, memories: MemoryArrays, broadcast: Broadcast) -> CohortSum:
        total: CohortSum | None = None
        for row, user in enumerate(users.tolist()):
            client = self.client(user, memories.entries(row))
            update = CohortSum.of(client.participate(self.model, broadcast), self.config.fedmem)
            memories.set_entries(row, client.memory.entries())
            total = update if total is None else total + update
        assert total is not None, "a chunk has clients"
        return total

    def client(self, user: int, remembered: MemoryEntries) -> FedMemClient:
        """One user's device as the reference implementation has it."""
        memory = LocalDynamicMemory(self.config.fedmem, self.config.model.sasrec_hidden_dim)
        memory.restore(remembered)
        data, preference = self.dataset.client(user), self.user_features.of(user)
        return FedMemClient(user, data, memory, self.config, self._blocks, preference)

    def evaluate(self, users: UserIndices, broadcast: Broadcast, split: Literal["validation", "test"]) -> MetricSums:
        """These clients rank their own targets, with their own histories and memories."""
        scorer = ClientScorer(self._scorer_of(broadcast), self.contexts(users, broadcast.round))
        asked = self.config.evaluation
        return MetricSums.of(evaluate(self.dataset, scorer, split, users=users).ranks, asked.k_list, asked.metrics)

    def contexts(self, users: UserIndices, round_number: int) -> dict[int, UserContext]:
        """What stands beside these users' histories after a number of completed rounds."""
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
            self._scorer = broadcast, ModelScorer(self._evaluated, broadcast.global_memory)
        return self._scorer[1]
