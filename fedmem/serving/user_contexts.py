"""What a history is scored with: a stored memory, a replayed one, or the global one alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig
from fedmem.contracts.recommendations import StrategyName
from fedmem.data.client_dataset import ClientDataset
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.federated.local_steps import LocalSteps
from fedmem.federated.parameters import prototype_vectors
from fedmem.federated.replay import replayed_memory
from fedmem.federated.scoring import UserContext
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.local_memory import LocalDynamicMemory
from fedmem.memory.prototypes import Prototypes
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.serving.preference_texts import FloatArray, preference_of, preferences_of, reads_texts
from fedmem.serving.trained_model import TrainedModel

Indices = npt.NDArray[np.integer]
REPLAY = 25  # so that any batch takes some seconds at most: docs/performance.md


@dataclass(frozen=True, eq=False)
class UserContexts:
    """Contexts by user index and history.

    Attributes:
        trained: whose data, users' texts and stored memories are read.
        global_memory: the global abstract memory, or None.
        model: what a history without a memory is replayed by.
    """

    trained: TrainedModel
    global_memory: Prototypes | None
    model: UR4RecV2MoE

    @property
    def config(self) -> ExperimentConfig:
        """The run's configuration."""
        return self.trained.snapshot.config

    @property
    def dataset(self) -> FederatedDataset:
        """The run's data."""
        return self.trained.snapshot.dataset

    def of_user(self, user: int, history: Indices, text: FloatArray | None = None) -> UserContext:
        """Read a user of the data: the stored memory or, where it was not trained, what ``of_history`` replays."""
        if not self.config.uses_memory:
            return UserContext()
        preference = self.trained.snapshot.user_features.of(user)
        if self.trained.memory_of is not None:
            return UserContext(self.trained.memory_of(user), preference)
        if self._was_trained(user):
            return UserContext(self.trained.memories.get(user), preference)
        return self.of_history(history, text)

    def of_history(self, history: Indices, text: FloatArray | None = None) -> UserContext:
        """Read a history that arrives without a memory: its replay, or nothing of its own where it is too short.

        ``text`` is its encoded preference text [D_t] where that is known already.
        """
        if not self.config.uses_memory:
            return UserContext()
        if not self.is_new(history):
            preference = preference_of(self.trained.snapshot, history) if text is None else text
            return UserContext(self.replay(history, preference), preference)
        return UserContext(self.new_user().query())

    def texts(self, histories: Sequence[Indices]) -> list[FloatArray | None]:
        """Encode the preference texts of histories that will be replayed, together."""
        return preferences_of(self.trained.snapshot, histories)

    def work(self, user: int | None, length: int) -> int:
        """Estimate what reading a history of ``length`` items takes, as of so many recommended items.

        A replay takes as long as ``REPLAY`` of them for each segment; a preference text is encoded for as long as one.
        """
        if not self.config.uses_memory or length < self.config.data.min_sequence_length or self._has_memory(user):
            return 0
        segments = math.ceil(min(length, self.config.data.max_history) / self.config.model.max_seq_len)
        return REPLAY * (segments + self._reads_texts)

    def new_user(self) -> LocalDynamicMemory:
        """Make the memory of a user who is new: nothing of their own, and the global abstract memory."""
        memory = LocalDynamicMemory.empty(self.config.fedmem, self.config.model.sasrec_hidden_dim)
        memory.initialize_from_global(self.global_memory)
        return memory

    def replays(self, user: int | None, history: Indices) -> bool:
        """Say whether the context of this history, of a known user or none, comes from replaying it."""
        if not self.config.uses_memory:
            return False
        return not self._has_memory(user) and not self.is_new(history)

    def strategy(self, user: int | None, history: Indices, context: UserContext | None) -> StrategyName:
        """Name what answers; no context is no memory, which was asked for."""
        if context is None:
            return "no_memory"
        if (user is not None and self._was_trained(user)) or context.remembers or not self.is_new(history):
            return "model"
        if self.global_memory is None and self.trained.transitions is None:
            return "cold_model"
        return "global_memory" if len(history) else "prototypes"

    def is_new(self, history: Indices) -> bool:
        """Say whether a history is too short to train on, or has all items: the global memory is then the memory."""
        too_short = len(history) < self.config.data.min_sequence_length
        return too_short or len(np.unique(history)) >= self.dataset.num_items

    def replay(self, history: Indices, preference: FloatArray | None = None) -> MemoryEntries:
        """Write the memory that a client with this history would write in one uncropped pass of the served model.

        ``preference`` is its encoded preference text [D_t], or None.
        """
        trained = np.asarray(history[-self.config.data.max_history :], np.int32)
        data = ClientDataset(trained, self.dataset.num_items)
        prototypes = prototype_vectors(self.global_memory, self.model.sasrec.item_embedding)
        stream = self.dataset.num_users  # no user's own
        local, config, now = LocalSteps.of(self.config), self.config.fedmem, self.trained.round
        return replayed_memory(local, config, self.model, data, prototypes, stream, now, preference)

    def _has_memory(self, user: int | None) -> bool:
        return user is not None and (self.trained.memory_of is not None or self._was_trained(user))

    def _was_trained(self, user: int) -> bool:
        return user in self._trained_users

    @cached_property
    def _reads_texts(self) -> bool:
        return reads_texts(self.trained.snapshot)

    @cached_property
    def _trained_users(self) -> frozenset[int]:
        return frozenset(self.dataset.trainable_users.tolist())
