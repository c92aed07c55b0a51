"""What a Recommender is asked: in ids as a caller puts it, and resolved to the indices of one model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.contracts import Selection
from fedmem.federated.scoring import UserContext
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.transitions import RememberedScores, TransitionTable
from fedmem.serving.ranking import TopK
from fedmem.serving.user_contexts import UserContexts
from fedmem.serving.user_vectors import Slot, UserVector

Indices = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """One question, of a known user, of a new one, or of a history alone.

    Attributes:
        user_id: whose stored memory and preference text are read; None for a history alone.
        history: item ids, oldest first; None for what the model's snapshot knows of the user.
        since: item ids that came after ``history``, oldest first.
        memory: what is read instead of a stored or replayed memory.
        selection: which of the ranked items are wanted, and whether any memory is read.
    """

    user_id: str | None = None
    history: Sequence[str] | None = None
    since: Sequence[str] = ()
    memory: MemoryEntries | None = None
    selection: Selection = Selection()  # noqa: RUF009, it is frozen


@dataclass(frozen=True, eq=False)
class ResolvedQuestion:
    """A question in the terms of the model that is to answer it.

    Attributes:
        question: as it was asked.
        user: index of a user of the snapshot, or None.
        history: item indices that the model was trained with, oldest first.
        hidden: item indices that are not to be recommended.
        outside: columns that the filters leave out [I + 1], or None.
        unknown: ids that the catalogue does not hold.
        contexts: what stands beside histories.
        slot: where the user's vector is kept, or None if it is not to be.
        vector: the user's vector if it was there.
        transitions: the rows of the transition memory that are in service while it is answered, or None.
        text: the encoded preference text of a history [D_t] where it was encoded together with others, or None.
    """

    question: Question
    user: int | None
    history: Indices
    hidden: Indices
    outside: BoolArray | None
    unknown: tuple[str, ...]
    contexts: UserContexts
    slot: Slot | None
    vector: UserVector | None
    transitions: TransitionTable | None
    text: FloatArray | None = None

    @property
    def selection(self) -> Selection:
        """Which of the ranked items are wanted."""
        return self.question.selection

    @property
    def needs_context(self) -> bool:
        """Whether the answer needs the user's context besides the history."""
        return self.vector is None or self.selection.explain

    @property
    def takes_long(self) -> bool:
        """Whether a history has to be replayed: milliseconds of work, and half a second for a long one."""
        reads_own = self.selection.memory and self.question.memory is None
        return self.needs_context and reads_own and self.contexts.replays(self.user, self.history)

    def context(self) -> UserContext | None:
        """Find what is read besides the history; None if no memory is read at all."""
        if not self.selection.memory:
            return None
        if self.question.memory is not None and self.contexts.config.uses_memory:
            return UserContext(self.question.memory)
        if self.user is None:
            return self.contexts.of_history(self.history, self.text)
        return self.contexts.of_user(self.user, self.history, self.text)

    def top_k(self, remembered: RememberedScores | None) -> TopK:
        """Say what to find; one item more than is wanted, to see if another page follows.

        ``remembered`` is the transition memory's part of the score.
        """
        return TopK(self.selection.end + 1, self.hidden, self.outside, remembered)
