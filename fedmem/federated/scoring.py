"""ModelScorer: the model's scores for users and histories, with each user's memory and the global memory.

The one reader of evaluation and serving. It builds what training builds, of the last position only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.federated.parameters import prototype_vectors
from fedmem.interruption import MOST_WORK, PER_TOKEN, heeded
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.kin import Kin
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import RememberedScores, TransitionTable
from fedmem.modality import Modality
from fedmem.model.item_vectors import ItemTable
from fedmem.model.preference_retriever import PrototypeVectors, RetrievedMemory
from fedmem.model.recommender import Reader, UR4RecV2MoE

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
Histories = Sequence[npt.NDArray[np.integer]]


@dataclass(frozen=True, eq=False)
class UserContext:
    """What is known of a user besides the history: nothing for a new user.

    Attributes:
        memory: the user's own entries, or None.
        preference: the encoded preference text [D_t], or None.
    """

    memory: MemoryEntries | None = None
    preference: FloatArray | None = None

    @property
    def remembers(self) -> bool:
        """Whether there is an entry."""
        return self.memory is not None and len(self.memory) > 0


@dataclass(frozen=True, eq=False)
class ScoreBlock:
    """Scores of all items after B histories, in two parts.

    Attributes:
        dense: ⟨q_u, x_i⟩ [B, I + 1].
        remembered: the transition memory's scores, of each history or of none.
    """

    dense: FloatArray
    remembered: Sequence[RememberedScores]

    def fused(self, strengths: Sequence[float]) -> FloatArray:
        """Add both parts, the second with these weights [B]: [B, I + 1]."""
        if not any(strengths) or not self.remembered:
            return self.dense
        if self._stacked is not None:
            weighed: FloatArray = np.array(strengths, np.float32)[:, None] * self._stacked
            weighed += self.dense
            return weighed
        scores = self.dense.copy()
        for row, read, strength in zip(scores, self.remembered, strengths, strict=True):
            read.times(strength).add_to(row)
        return scores

    @cached_property
    def _stacked(self) -> FloatArray | None:
        """The remembered scores of all items [B, I + 1], where each is kept of all of them: a catalogue is small."""
        rows = [read.scores[:-1] for read in self.remembered if read.items is None]
        whole = len(rows) == len(self.remembered) and {len(row) for row in rows} == {self.dense.shape[1]}
        return np.stack(rows) if whole else None


@dataclass(frozen=True)
class Strengths:
    """The weight of the transition memory in the score.

    Attributes:
        general: of most histories, the empty one too; if it is 0 the memory is never read.
        short: after histories of up to so many items that the model knows, and at least one, another one.
    """

    general: float = 0.0
    short: Mapping[int, float] = field(default_factory=dict)

    def after(self, history: npt.NDArray[np.integer]) -> float:
        """Return the weight after a history."""
        fitting = [length for length in self.short if len(history) <= length]
        return self.short[min(fitting)] if self.general and len(history) and fitting else self.general


NO_TRANSITIONS = Strengths()


class ModelScorer:
    """Scores all items for histories of any length, the empty one included.

    Who has neither a history nor a memory reads the global memory by its mass: there is nothing that could attend.

    Args:
        model: holds the parameters; it must not change afterwards, as its item matrix is computed once.
        global_memory: the global abstract memory, or None.
        table: the item vectors where they are not the model's own: more items than it was trained on, behind those.
        transitions: the rows of the transition memory, or None where it is not used.
        strengths: its weight in the score.
        kin: of the items that the transition memory has not counted, or None where there are none.

    Attributes:
        columns: the item matrix, transposed and contiguous [D_x, I + 1], which a product reads at full speed.
    """

    def __init__(
        self,
        model: UR4RecV2MoE,
        global_memory: Prototypes | None,
        table: ItemTable | None = None,
        transitions: TransitionTable | None = None,
        strengths: Strengths = NO_TRANSITIONS,
        kin: Kin | None = None,
    ) -> None:
        self.model = model
        self.global_memory = global_memory
        self.transitions = transitions
        self.strengths = strengths
        self.kin = kin
        with torch.inference_mode():
            table = model.item_table() if table is None else table
            self.columns = table.matrix.T.contiguous()
            self.table = replace(table, matrix=self.columns.T)
            self.prototypes: PrototypeVectors | None = prototype_vectors(global_memory, table.embedding)
            self._read_by_mass: dict[Modality, Tensor] = {}
            if global_memory is not None and model.retriever is not None:
                assert self.prototypes is not None
                mass = torch.from_numpy(global_memory.mass).to(table.embedding)
                self._read_by_mass = model.read_by_mass(self.prototypes, mass)

    def score(self, contexts: Sequence[UserContext], histories: Histories) -> FloatArray:
        """Score all items after B histories (item indices, oldest first): [B, I + 1], of which column 0 is padding."""
        return self.parts(contexts, histories).fused([self.strengths.after(history) for history in histories])

    @torch.inference_mode()
    def parts(self, contexts: Sequence[UserContext], histories: Histories) -> "ScoreBlock":
        """Score as ``score``, the transition memory's part apart."""
        at_once = self._at_once(histories)
        rows = [slice(first, first + at_once) for first in range(0, len(histories), at_once)]
        blocks = [self._dense(contexts[part], histories[part]) for part in heeded(rows)]
        dense = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        table = self.transitions
        return ScoreBlock(dense, [] if table is None else [self.remembered(table, h) for h in histories])

    def remembered(self, table: TransitionTable, history: npt.NDArray[np.integer]) -> RememberedScores:
        """Read from these rows what follows a history, newer items too; of none, popularity, in which those are not."""
        read = table.read(history)
        return read if self.kin is None or not len(history) else self.kin.extended(read, len(table.items) - 1)

    def _at_once(self, histories: Histories) -> int:
        """Say of how many histories no operation takes longer than a stop may wait; one may."""
        dim, most = self.columns.shape[0], self.model.sasrec.max_seq_len
        tokens = min(most, max(map(len, histories), default=0))
        work = max(tokens * dim * max(dim, tokens, PER_TOKEN), self.columns.numel())
        return max(1, MOST_WORK // work)

    def _dense(self, contexts: Sequence[UserContext], histories: Histories) -> FloatArray:
        queries = self.queries(contexts, histories)
        unknown = [row for row, pair in enumerate(zip(contexts, histories, strict=True)) if self.only_popularity(*pair)]
        queries[unknown] = 0
        scores: FloatArray = (queries @ self.columns).cpu().numpy()
        return scores

    def only_popularity(self, context: UserContext, history: npt.NDArray[np.integer]) -> bool:
        """Say whether popularity alone answers: there is neither a history nor a memory, and the items were counted."""
        counted = self.transitions is not None and self.strengths.general > 0
        return counted and not len(history) and not context.remembers

    @torch.inference_mode()
    def queries(self, contexts: Sequence[UserContext], histories: Histories) -> Tensor:
        """Compute the query vectors q_u after whole histories [B, D_x]."""
        h = self._states(histories)
        return self.model.queries(h, self._read(h, contexts, histories))[:, 0]

    def _states(self, histories: Histories) -> Tensor:
        """Return the state after the last L items of each history [B, 1, D]."""
        longest = self.model.sasrec.max_seq_len
        windows = [history[-longest:] for history in histories]
        device = self.columns.device
        if len(windows) == 1:
            items = torch.from_numpy(windows[0].astype(np.int64))[None]
            return self.model.last_state(self.table, items.to(device))
        length = np.array([len(window) for window in windows])
        padded = np.zeros((len(windows), int(length.max())), np.int64)
        for row, window in enumerate(windows):
            padded[row, : len(window)] = window
        return self.model.last_state(
            self.table, torch.from_numpy(padded).to(device), torch.from_numpy(length).to(device)
        )

    def knows_nothing(self, context: UserContext, history: npt.NDArray[np.integer]) -> bool:
        """Say whether nothing could attend to the global memory, which is then read by its mass."""
        return bool(self._read_by_mass) and not len(history) and not context.remembers

    def _read(self, h: Tensor, contexts: Sequence[UserContext], histories: Histories) -> dict[Modality, Tensor]:
        """Return what each expert reads [B, 1, D]."""
        new = [self.knows_nothing(*pair) for pair in zip(contexts, histories, strict=True)]
        if all(new):
            return {name: read.expand(len(h), -1, -1) for name, read in self._read_by_mass.items()}
        read = self.model.read_memory(h, self.table, self._reader(contexts, histories))
        if not any(new):
            return read
        by_mass = torch.tensor(new, device=h.device)[:, None, None]
        return {name: torch.where(by_mass, self._read_by_mass[name], found) for name, found in read.items()}

    def _reader(self, contexts: Sequence[UserContext], histories: Histories) -> Reader:
        like = self.table.embedding
        target_index = torch.tensor([[len(history)] for history in histories], device=like.device)
        return Reader(self._memory(contexts, like), target_index, *self._preferences(contexts, like))

    def _memory(self, contexts: Sequence[UserContext], like: Tensor) -> RetrievedMemory | None:
        memories = [context.memory for context in contexts]
        if self.prototypes is None and all(memory is None for memory in memories):
            return None
        items, index, embedding = (values.to(like.device) for values in stack_memories(memories, like))
        return RetrievedMemory(items, index, embedding.to(like.dtype), self.prototypes)

    def _preferences(self, contexts: Sequence[UserContext], like: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the preference texts, all of them readable; ``None`` if no user has one."""
        text_dim = self.model.text_dim
        if text_dim is None or all(context.preference is None for context in contexts):
            return None, None
        absent = np.zeros(text_dim, np.float32)
        texts = np.stack([absent if context.preference is None else context.preference for context in contexts])
        return torch.from_numpy(texts).to(like), torch.zeros(len(contexts), dtype=torch.long, device=like.device)


def stack_memories(memories: Sequence[MemoryEntries | None], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pad memories to the longest: items [C, M], history indices [C, M] and id embeddings [C, M, D]."""
    longest = max((len(memory) for memory in memories if memory is not None), default=0)
    items = np.zeros((len(memories), longest), np.int64)
    index = np.zeros((len(memories), longest), np.int64)
    embedding = np.zeros((len(memories), longest, like.shape[-1]), np.float32)
    for row, memory in enumerate(memories):
        if memory is not None:
            n = len(memory)
            items[row, :n], index[row, :n], embedding[row, :n] = memory.items, memory.index, memory.id_embedding
    return torch.from_numpy(items), torch.from_numpy(index), torch.from_numpy(embedding)
