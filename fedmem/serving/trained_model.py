"""What a checkpoint left of a model version: all that no new item changes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fedmem.checkpoint import Checkpoint, Snapshot
from fedmem.federated.start import build_model
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.prototypes import Prototypes
from fedmem.model.recommender import UR4RecV2MoE


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model version as it was trained. It never changes, but for users who ask to be forgotten.

    Attributes:
        version: its name.
        snapshot: the data, features and configuration of the run, on the CPU wherever it was trained.
        round: the round after which it was kept.
        model: the averaged parameters.
        global_memory: the global abstract memory, or None.
        memories: the clients' memories by user index.
        memory_of: what every user's memory is taken to be instead, for controls.
        forgotten: ids of users who have been forgotten.
    """

    version: str
    snapshot: Snapshot
    round: int
    model: UR4RecV2MoE
    global_memory: Prototypes | None
    memories: dict[int, MemoryEntries]
    memory_of: Callable[[int], MemoryEntries | None] | None = None
    forgotten: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        checkpoint: Checkpoint,
        version: str,
        memory_of: Callable[[int], MemoryEntries | None] | None = None,
    ) -> "TrainedModel":
        """Take the model, the global memory and the clients' memories out of a checkpoint."""
        config, server = snapshot.config.model_copy(update={"device": "cpu"}), checkpoint.server
        model = build_model(config, snapshot.dataset.num_items, snapshot.features, server.averaged)
        prototypes = server.global_memory if config.uses_prototypes else None
        memories = dict(checkpoint.memories)
        return cls(version, replace(snapshot, config=config), server.round, model, prototypes, memories, memory_of)

    def user_index(self, user_id: str) -> int | None:
        """Look up a user's index; None for an unknown or a forgotten user."""
        return None if user_id in self.forgotten else self.snapshot.dataset.vocabulary.find_user(user_id)

    def forget(self, user_id: str) -> None:
        """Erase a user's memory; from now on the id is that of an unknown user."""
        user = self.user_index(user_id)
        if user is not None:  # others are unknown as it is, and there is no end to them
            self.forgotten.add(user_id)
            self.memories.pop(user, None)
