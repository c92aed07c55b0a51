"""A question in the model's terms, between being asked and being answered."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.federated.scoring import UserContext
from fedmem.serving.answers import Question
from fedmem.serving.user_contexts import UserContexts
from fedmem.serving.user_vectors import Place, UserVector

Indices = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Asked:
    """A question that a model has understood.

    Attributes:
        question: as it was asked.
        user: index of a user of the snapshot, or None.
        history: item indices that the model was trained with, oldest first.
        hidden: item indices that are not to be recommended.
        unknown: ids that the catalogue does not hold.
        contexts: what stands beside histories.
        place: where the user's vector is kept, or None if it is not to be.
        vector: the user's vector if it was there.
    """

    question: Question
    user: int | None
    history: Indices
    hidden: Indices
    unknown: tuple[str, ...]
    contexts: UserContexts
    place: Place | None
    vector: UserVector | None

    @property
    def needs_context(self) -> bool:
        """Whether what stands beside the history is needed for the answer."""
        return self.vector is None or self.question.explain

    @property
    def takes_long(self) -> bool:
        """Whether a history has to be replayed: milliseconds of work, and half a second for a long one."""
        reads_own = self.question.reads_memory and self.question.memory is None
        return self.needs_context and reads_own and self.contexts.replays(self.user, self.history)

    def context(self) -> UserContext | None:
        """What is read beside the history; None where no memory is to be read at all."""
        if not self.question.reads_memory:
            return None
        if self.question.memory is not None and self.contexts.config.uses_memory:
            return UserContext(self.question.memory)
        if self.user is None:
            return self.contexts.of_history(self.history)
        return self.contexts.of_user(self.user, self.history)
