"""What a checkpoint left of a model version: all that no new item changes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fedmem.checkpoint import Checkpoint, Snapshot
from fedmem.federated.start import build_model
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.handed_on import HandedOn
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionTable
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
        transitions: what the transition memory was counted from, or None.
        strength: its weight in the score.
        memory_of: what every user's memory is taken to be instead, for controls.
        forgotten: ids of users who have been forgotten.
    """

    version: str
    snapshot: Snapshot
    round: int
    model: UR4RecV2MoE
    global_memory: Prototypes | None
    memories: dict[int, MemoryEntries]
    transitions: HandedOn | None = None
    strength: float = 0.0
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
        memories, transitions = dict(checkpoint.memories), None
        counts, lengths = server.transitions, checkpoint.handed_on
        if config.uses_transitions and server.strength and counts is not None and lengths is not None:
            transitions = HandedOn(counts, lengths)
        return cls(
            version,
            replace(snapshot, config=config),
            server.round,
            model,
            prototypes,
            memories,
            transitions,
            server.strength,
            memory_of,
        )

    def transition_table(self) -> TransitionTable | None:
        """Make the rows of the transition memory that scores are read from."""
        if self.transitions is None:
            return None
        return TransitionTable.of(self.transitions.counts, self.snapshot.config.transitions)

    def user_index(self, user_id: str) -> int | None:
        """Look up a user's index; None for an unknown or a forgotten user."""
        return None if user_id in self.forgotten else self.snapshot.dataset.vocabulary.find_user(user_id)

    def forget(self, user_id: str) -> None:
        """Erase a user's memory and transitions; from now on the id is that of an unknown user."""
        user = self.user_index(user_id)
        if user is None:  # others are unknown as it is, and there is no end to them
            return
        self.forgotten.add(user_id)
        self.memories.pop(user, None)
        if self.transitions is not None:
            history, window = self.snapshot.dataset.training_history(user), self.snapshot.config.transitions.window
            self.transitions.subtract(user, history, window)
