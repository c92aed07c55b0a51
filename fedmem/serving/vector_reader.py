"""From a question in the model's terms to the user's side of the score."""

from dataclasses import dataclass, replace
from weakref import ref

import numpy as np
import numpy.typing as npt

from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.serving.question import Question, ResolvedQuestion
from fedmem.serving.single_query import SingleQueries
from fedmem.serving.user_contexts import UserContexts
from fedmem.serving.user_vectors import Slot, UserVector, UserVectorCache, VectorKey


@dataclass(frozen=True, eq=False)
class VectorReader:
    """Finds users' vectors that were computed before, and computes the others.

    Attributes:
        scorer: the model and the global memory that answer.
        contexts: what stands beside histories.
        queries: the scorer's queries of single users.
        kept: vectors that were computed before, by this scorer's model and global memory.
    """

    scorer: ModelScorer
    contexts: UserContexts
    queries: SingleQueries
    kept: UserVectorCache

    def find(self, question: Question, history: npt.NDArray[np.integer]) -> tuple[Slot | None, UserVector | None]:
        """Find where the user's vector is kept, and the vector if it is there; nothing without a user or a history."""
        user_id = question.user_id
        if user_id is None or question.memory is not None or not question.selection.memory or not len(history):
            return None, None
        return self.kept.find(VectorKey.of(user_id, history))

    def read(self, resolved: ResolvedQuestion) -> tuple[UserVector, UserContext | None]:
        """Return the user's side of the score and, if needed, what it was read from: no history is replayed twice."""
        context = resolved.context() if resolved.needs_context else None
        found = resolved.vector
        if found is not None and found.was_read_from(resolved.transitions, self.scorer.kin):
            return found, context
        vector = self._compute(resolved, context) if found is None else self._with_transitions(found, resolved)
        if resolved.slot is not None:
            self.kept.put(resolved.slot, vector)
        return vector, context

    def _compute(self, resolved: ResolvedQuestion, context: UserContext | None) -> UserVector:
        """Compute both parts, or popularity alone where nothing is known."""
        history = resolved.history
        strategy = self.contexts.strategy(resolved.user, history, context)
        if context is None:
            return UserVector(self.queries.query(context, history), strategy)
        if self.scorer.only_popularity(context, history):
            nothing = UserVector(np.zeros(len(self.scorer.columns), np.float32), "popularity")
            return self._with_transitions(nothing, resolved)
        return self._with_transitions(UserVector(self.queries.query(context, history), strategy), resolved)

    def _with_transitions(self, vector: UserVector, resolved: ResolvedQuestion) -> UserVector:
        """Read the sparse part from the rows that are in service; the dense one stays."""
        table = resolved.transitions
        if table is None:
            return vector if vector.table is None else replace(vector, remembered=None, table=None)
        strength, kin = self.scorer.strengths.after(resolved.history), self.scorer.kin
        remembered = self.scorer.remembered(table, resolved.history).times(strength)
        return replace(vector, remembered=remembered, table=ref(table), kin=None if kin is None else ref(kin))
