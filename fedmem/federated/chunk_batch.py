"""One local step of a chunk of clients: their tokens side by side, and as the tensors that the objective takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.federated.chunk import Chunk
from fedmem.federated.local_steps import LocalStep
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.model.packing import Packing
from fedmem.model.preference_retriever import PrototypeVectors, RetrievedMemory
from fedmem.model.recommender import Reader

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ChunkTokens:
    """The segments of one local step of C clients as P tokens a client, in the history's order, padded at the end.

    Attributes:
        targets: the item of each token [C, P], 0 at padding.
        inputs: the item before it, 0 where a segment starts [C, P].
        index: its history index [C, P].
        chosen: whether it counts in this step [C, P].
        counts: tokens of each client [C].
        packing: how tokens stand in segments.
    """

    targets: IntArray
    inputs: IntArray
    index: IntArray
    chosen: npt.NDArray[np.bool_]
    counts: IntArray
    packing: Packing

    @classmethod
    def of(cls, steps: Sequence[LocalStep], device: torch.device) -> "ChunkTokens":
        """Put the steps of several clients side by side."""
        width = max(step.items.shape[1] for step in steps)
        client = np.repeat(np.arange(len(steps)), [len(step.items) for step in steps])  # of each segment [S]
        items = np.concatenate([_widened(step.items, width) for step in steps]).astype(np.int64)  # [S, T]
        start = np.concatenate([step.start for step in steps])
        before = np.concatenate([np.zeros_like(items[:, :1]), items[:, :-1]], axis=1)
        chosen = np.concatenate([_widened(step.chosen, width) for step in steps])
        real = items > 0
        counts = np.bincount(client, real.sum(1), len(steps)).astype(np.int64)
        packed = np.arange(counts.max()) < counts[:, None]  # [C, P]

        def pack(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            rows = np.zeros(packed.shape, values.dtype)
            rows[packed] = values[real]
            return rows

        index = start[:, None] + np.arange(width)
        packing = Packing(client, real.sum(1), len(steps), device)
        return cls(pack(items), pack(before), pack(index), pack(chosen), counts, packing)

    def of_client(self, client: int) -> "ChunkTokens":
        """Take one client's; the packing stays that of all."""
        one = slice(client, client + 1)
        arrays = self.targets[one], self.inputs[one], self.index[one], self.chosen[one], self.counts[one]
        return ChunkTokens(*arrays, self.packing)

    @property
    def real(self) -> npt.NDArray[np.bool_]:
        """Which tokens are no padding [C, P]."""
        return self.targets > 0


def _widened(values: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    wide = np.zeros((len(values), width), values.dtype)
    wide[:, : values.shape[1]] = values
    return wide


@dataclass(frozen=True, eq=False)
class ChunkBatch:
    """What the objective takes, as tensors: C clients, P tokens, N negatives.

    Attributes:
        targets, inputs, chosen: as in ``ChunkTokens``.
        weight: each token's weight in the sum that is differentiated [C, P].
        negatives: [C, N].
        rows: the item rows that are read: [n] for all clients, [C, n] for each, or None for the whole catalogue.
        packing: how tokens stand in segments.
        reader: what stands beside the sequence.
    """

    targets: Tensor
    inputs: Tensor
    chosen: Tensor
    weight: Tensor
    negatives: Tensor
    rows: Tensor | None
    packing: Packing
    reader: Reader


def batch_of(
    chunk: Chunk,
    steps: Sequence[LocalStep],
    tokens: ChunkTokens,
    weight: npt.NDArray[np.floating | np.bool_],
    rows: Tensor | None,
    prototypes: PrototypeVectors | None,
    like: Tensor,
    *,
    reads_memory: bool,
) -> ChunkBatch:
    """Make the batch of one local step, in the precision and on the device of ``like``.

    Args:
        chunk: its C clients.
        steps: their steps [C].
        tokens: the steps as tokens.
        weight: of each token in the sum that is differentiated [C, P].
        rows: item rows, as in ``ChunkBatch``.
        prototypes: the global abstract memory, or None.
        like: names precision and device.
        reads_memory: whether anything is read beside the sequence.
    """
    device = like.device
    targets, inputs, index, chosen = (
        torch.from_numpy(a).to(device) for a in (tokens.targets, tokens.inputs, tokens.index, tokens.chosen)
    )
    preference = preference_from = None
    if chunk.preference is not None and reads_memory:
        preference = torch.from_numpy(chunk.preference).to(like)
        preference_from = torch.tensor([step.preference_from for step in steps], device=device)
    return ChunkBatch(
        targets=targets,
        inputs=inputs,
        chosen=chosen,
        weight=torch.from_numpy(weight).to(like),
        negatives=torch.from_numpy(np.stack([step.negatives for step in steps])).long().to(device),
        rows=rows,
        packing=tokens.packing,
        reader=Reader(
            memory=_retrieved(chunk.memories, prototypes, like) if reads_memory else None,
            target_index=index,
            preference=preference,
            preference_from=preference_from,
        ),
    )


def _retrieved(memories: MemoryArrays, prototypes: PrototypeVectors | None, like: Tensor) -> RetrievedMemory:
    """Return the clients' memories as the model reads them, no wider than the fullest."""
    used = int(memories.lengths.max())
    items, index, embedding = (
        torch.from_numpy(a[:, :used]).to(like.device) for a in (memories.items, memories.index, memories.id_embedding)
    )
    return RetrievedMemory(items.long(), index.long(), embedding.to(like.dtype), prototypes)
