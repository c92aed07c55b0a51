"""What a history would leave in a client's memory: one pass of a model over it, without training and without a loss."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import FedMemConfig
from fedmem.data.client_dataset import ClientDataset
from fedmem.federated.chunk import Chunk
from fedmem.federated.chunk_step import write_memories
from fedmem.federated.local_steps import LocalStep, LocalSteps
from fedmem.federated.objective import Surprises, surprises
from fedmem.federated.scoring import stack_memories
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.memory_arrays import MemoryArrays
from fedmem.model.preference_retriever import PrototypeVectors, RetrievedMemory
from fedmem.model.recommender import Reader, UR4RecV2MoE

FloatArray = npt.NDArray[np.float32]


@torch.inference_mode()
def replayed_memory(
    local: LocalSteps,
    config: FedMemConfig,
    model: UR4RecV2MoE,
    data: ClientDataset,
    prototypes: PrototypeVectors | None,
    stream: int,
    round_number: int,
    preference: FloatArray | None = None,
) -> MemoryEntries:
    """Write the memory that a client with this history would have after one uncropped pass.

    Args:
        local: how the history is cut into segments.
        config: how memories are written.
        model: reads the history.
        data: the history and what is no part of it.
        prototypes: the global abstract memory, or None.
        stream: stands for a user in the derivation of randomness; no user's number.
        round_number: the model's round.
        preference: the encoded preference text [D_t], or None.
    """
    memories = MemoryArrays.empty(1, config.memory_capacity, model.sasrec.item_embedding.shape[-1])
    chunk = Chunk([stream], [data], memories)
    for step in local.draw(round_number, stream, data, cropped=False):
        found = _surprises(model, step, memories.entries(0), prototypes, preference)
        index = np.add.outer(step.start, np.arange(step.items.shape[1])).astype(np.int32)
        items, index = step.items[step.chosen][None], index[step.chosen][None]  # [1, n]
        found = Surprises(found.surprise[step.chosen][None], found.embedding[step.chosen][None])
        write_memories(config, local.seed, chunk, items, index, np.ones(items.shape, bool), found, round_number)
    return memories.entries(0)


def _surprises(
    model: UR4RecV2MoE,
    step: LocalStep,
    remembered: MemoryEntries,
    prototypes: PrototypeVectors | None,
    preference: FloatArray | None,
) -> Surprises:
    """Compute each position's surprise [S, T] by the forward pass of evaluation and serving, over padded segments."""
    like = model.sasrec.item_embedding
    items, negatives = (torch.from_numpy(a).long().to(like.device) for a in (step.items, step.negatives))
    memory = _memory(remembered, len(items), prototypes, like)
    rows: Tensor = torch.cat([items.flatten(), negatives, memory.items[0]]).unique()
    table = model.item_table(rows)
    index = torch.from_numpy(step.start).long()[:, None] + torch.arange(items.shape[1])  # [S, T]
    h = model.states(table, items[:, :-1].contiguous())
    texts = None if preference is None else torch.from_numpy(preference).to(like).expand(len(items), -1)
    first = torch.full((len(items),), step.preference_from, device=like.device)
    read = model.read_memory(h, table, Reader(memory, index.to(like.device), texts, first))
    return surprises(model.queries(h, read), table, items, negatives.expand(len(items), -1).contiguous())


def _memory(
    remembered: MemoryEntries, segments: int, prototypes: PrototypeVectors | None, like: Tensor
) -> RetrievedMemory:
    """Repeat one client's memory for each of its segments."""
    stacked = stack_memories([remembered], like)
    items, index, embedding = (values.repeat_interleave(segments, 0).to(like.device) for values in stacked)
    return RetrievedMemory(items, index, embedding.to(like.dtype), prototypes)
