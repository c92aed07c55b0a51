"""ModelScorer: the model's scores for users and histories, with each user's memory and the global memory.

The one reader of evaluation and serving; it builds the same batch that training builds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedmem.federated.local_objective import collate, prototype_vectors
from fedmem.federated.local_steps import LocalStep
from fedmem.memory.local_memory import MemoryEntries
from fedmem.memory.prototypes import Prototypes
from fedmem.model.preference_retriever import PrototypeVectors
from fedmem.model.recommender import ItemTable, UR4RecV2MoE

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class UserContext:
    """What stands beside a user's history: nothing for a new user.

    Attributes:
        memory: the user's own entries, or None.
        preference: the encoded preference text [D_t], or None.
    """

    memory: MemoryEntries | None = None
    preference: FloatArray | None = None


class ModelScorer:
    """Scores all items for histories of any length, the empty one included.

    Args:
        model: holds the parameters; it must not change afterwards, as its item matrix is computed once.
        global_memory: the global abstract memory, or None.
    """

    def __init__(self, model: UR4RecV2MoE, global_memory: Prototypes | None) -> None:
        self.model = model
        with torch.inference_mode():
            self.table: ItemTable = model.item_table()
            self.prototypes: PrototypeVectors | None = prototype_vectors(global_memory, self.table.embedding)

    @torch.inference_mode()
    def score(self, contexts: Sequence[UserContext], histories: Sequence[npt.NDArray[np.integer]]) -> FloatArray:
        """Scores [B, I + 1] of B histories (item indices, oldest first); column 0 is padding."""
        return (self.queries(contexts, histories) @ self.table.matrix.T).cpu().numpy()

    def queries(self, contexts: Sequence[UserContext], histories: Sequence[npt.NDArray[np.integer]]) -> torch.Tensor:
        """Query vectors q_u after whole histories [B, D_x]."""
        model = self.model
        steps = [self._step(c, h) for c, h in zip(contexts, histories, strict=True)]
        batch = collate(steps, self.prototypes, model.sasrec.item_embedding, model.text_dim)
        states = model.states(self.table, batch.items[:, :-1])  # [B, T, D]
        last = batch.chosen.int().argmax(1)
        rows = torch.arange(len(last), device=last.device)
        reader = batch.reader.at(last)
        h = states[rows, last][:, None]  # [B, 1, D]
        return model.queries(h, model.read_memory(h, self.table, reader))[:, 0]

    def _step(self, context: UserContext, history: npt.NDArray[np.integer]) -> LocalStep:
        """The last L items, and one more position whose target is what comes next."""
        window = history[-self.model.sasrec.max_seq_len :] if len(history) else history
        n = len(window)
        chosen = np.zeros((1, n + 1), bool)
        chosen[0, n] = True
        return LocalStep(
            items=np.append(window, 0).astype(np.int32)[None],
            start=np.array([len(history) - n], np.int32),
            chosen=chosen,
            negatives=np.zeros(0, np.int32),
            memory=context.memory,
            preference=context.preference,
        )
