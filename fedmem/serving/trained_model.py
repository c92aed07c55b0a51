"""What a checkpoint left of a model version: all that no new item changes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import Checkpoint, Snapshot
from fedmem.federated.scoring import NO_TRANSITIONS, Strengths
from fedmem.federated.start import build_model
from fedmem.federated.transition_release import readable_transitions
from fedmem.memory.count_sketch import table_of
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.handed_on import HandedOn
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionTable
from fedmem.model.recommender import UR4RecV2MoE

IntArray = npt.NDArray[np.int32]


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
        held_out: whether that includes what was held out for validation and test, so that it may answer people and
            not be evaluated.
        strengths: its weight in the score.
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
    strengths: Strengths = NO_TRANSITIONS
    held_out: bool = False
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
        counts, lengths = readable_transitions(config, server), checkpoint.handed_on
        if config.uses_transitions and server.strength and counts is not None and lengths is not None:
            # Of what was released with noise no client's part is known, and none can be taken out.
            transitions = HandedOn(counts, np.zeros_like(lengths) if config.releases_transitions else lengths)
        return cls(
            version,
            replace(snapshot, config=config),
            server.round,
            model,
            prototypes,
            memories,
            transitions,
            Strengths(server.strength, server.short_strengths),
            memory_of=memory_of,
        )

    @property
    def counts_further(self) -> bool:
        """Whether what people do since training is counted among the transitions; with a budget it is not."""
        return self.transitions is not None and not self.snapshot.config.releases_transitions

    def with_held_out(self) -> "TrainedModel":
        """Make the model whose transitions are those of all that its snapshot knows of people."""
        if not self.counts_further:
            return self
        dataset = self.snapshot.dataset
        histories = [self.known_history(user_id) for user_id in dataset.vocabulary.users]
        assert self.transitions is not None, "counted further"
        return replace(self, transitions=self.transitions.completed(histories, self._window), held_out=True)

    def count(self, changes: Iterable[tuple[str, IntArray, IntArray]]) -> None:
        """Count among the transitions what people did since the snapshot; with a budget it waits for the next training.

        Args:
            changes: of each user the id, the items behind what the snapshot knows that were counted before, and those
                that are to be now, oldest first.
        """
        if self.transitions is None or not self.counts_further:
            return
        known = ((self.known_history(user_id), before, now) for user_id, before, now in changes)
        histories = [(np.concatenate([first, before]), np.concatenate([first, now])) for first, before, now in known]
        self.transitions.exchange(histories, self._window)

    def known_history(self, user_id: str) -> IntArray:
        """Return what the snapshot knows of a user; nothing of an unknown or a forgotten one."""
        user = self.user_index(user_id)
        return np.zeros(0, np.int32) if user is None else self.snapshot.dataset.known_history(user)

    @property
    def _window(self) -> int:
        return self.snapshot.config.transitions.window

    def transition_table(self) -> TransitionTable | None:
        """Make the rows of the transition memory that scores are read from."""
        if self.transitions is None:
            return None
        return table_of(self.transitions.counts, self.snapshot.config.transitions)

    def user_index(self, user_id: str) -> int | None:
        """Look up a user's index; None for an unknown or a forgotten user."""
        return None if user_id in self.forgotten else self.snapshot.dataset.vocabulary.find_user(user_id)

    def forget(self, user_id: str, since: IntArray) -> None:
        """Erase a user's memory and transitions; from now on the id is that of an unknown user.

        ``since`` is what was counted of the user behind what the snapshot knows.
        """
        user, known = self.user_index(user_id), self.known_history(user_id)
        if self.transitions is not None and self.counts_further and len(since):
            self.transitions.exchange([(np.concatenate([known, since]), known)], self._window)
        if user is None:  # others are unknown as it is, and there is no end to them
            return
        self.forgotten.add(user_id)
        self.memories.pop(user, None)
        if self.transitions is not None:
            self.transitions.subtract(user, known, self._window)
