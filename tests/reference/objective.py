"""The objective of one local step as the paper writes it: padded segments, plain losses, each position's surprise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.federated.local_steps import LocalStep
from fedmem.memory.entries import MemoryEntries
from fedmem.model.item_vectors import ItemTable
from fedmem.model.losses import bpr_loss, sampled_softmax_loss
from fedmem.model.preference_retriever import PrototypeVectors, RetrievedMemory
from fedmem.model.recommender import Reader, UR4RecV2MoE
from fedmem.model.sasrec import Dropout


@dataclass(frozen=True, eq=False)
class Reading:
    """A local step and what is read beside it: the client's memory and its preference text [D_t], or None."""

    step: LocalStep
    memory: MemoryEntries | None = None
    preference: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class LocalBatch:
    """The segments of one or more clients as tensors: B segments, T positions, M entries."""

    items: Tensor
    chosen: Tensor
    negatives: Tensor
    reader: Reader


@dataclass(frozen=True, eq=False)
class LossSums:
    """Sums over the chosen positions and, without gradient, each position's surprise and target embedding.

    Attributes:
        total: L_rec + λ·L_con + moe_balance·L_bal, to be differentiated.
        recommendation: L_rec, in nats.
        contrastive: L_con, in nats.
        gates: sums, as ``gate_sums`` makes them.
        surprise: mean BPR loss of each position [B, T], in nats.
        embedding: e_i of each position's target [B, T, D].
    """

    total: Tensor
    recommendation: float
    contrastive: float
    gates: Mapping[str, float]
    surprise: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]

    def metrics(self) -> dict[str, float]:
        """Losses and gates by name."""
        return {"recommendation_loss": self.recommendation, "contrastive_loss": self.contrastive, **self.gates}


def collate(
    readings: Sequence[Reading], prototypes: PrototypeVectors | None, like: Tensor, text_dim: int | None
) -> LocalBatch:
    """Put the segments of several clients under each other, in the precision and on the device of ``like``."""
    device, steps = like.device, [reading.step for reading in readings]
    width = max(step.items.shape[1] for step in steps)
    counts = torch.tensor([len(step.items) for step in steps])
    items = torch.from_numpy(np.concatenate([_pad(step.items, width) for step in steps])).long().to(device)
    chosen = torch.from_numpy(np.concatenate([_pad(step.chosen, width) for step in steps])).to(device)
    start = torch.from_numpy(np.concatenate([step.start for step in steps])).long()
    negatives = torch.from_numpy(np.stack([step.negatives for step in steps])).long()
    reader = Reader(
        memory=_collate_memory([reading.memory for reading in readings], counts, prototypes, like),
        target_index=(start[:, None] + torch.arange(width)).to(device),
        **_collate_preferences(readings, counts, like, text_dim),
    )
    return LocalBatch(items, chosen, negatives.repeat_interleave(counts, 0).to(device), reader)


def _pad(values: npt.NDArray[np.generic], width: int) -> npt.NDArray[np.generic]:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))


def _collate_memory(
    memories: Sequence[MemoryEntries | None], counts: Tensor, prototypes: PrototypeVectors | None, like: Tensor
) -> RetrievedMemory | None:
    """The clients' entries padded to the longest, repeated for each of a client's segments; None if none reads."""
    if prototypes is None and all(memory is None for memory in memories):
        return None
    stacked = _stack(memories, like)
    items, index, embedding = (values.repeat_interleave(counts, 0).to(like.device) for values in stacked)
    return RetrievedMemory(items, index, embedding.to(like.dtype), prototypes)


def _stack(memories: Sequence[MemoryEntries | None], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Items [C, M], history indices [C, M] and id embeddings [C, M, D] of memories, padded to the longest."""
    longest = max((len(memory) for memory in memories if memory is not None), default=0)
    items, index = (torch.zeros(len(memories), longest, dtype=torch.long) for _ in range(2))
    embedding = torch.zeros(len(memories), longest, like.shape[-1])
    for row, memory in enumerate(memories):
        for slot in range(0 if memory is None else len(memory)):
            items[row, slot], index[row, slot] = int(memory.items[slot]), int(memory.index[slot])
            embedding[row, slot] = torch.from_numpy(memory.id_embedding[slot])
    return items, index, embedding


def _collate_preferences(
    readings: Sequence[Reading], counts: Tensor, like: Tensor, text_dim: int | None
) -> dict[str, Tensor | None]:
    if text_dim is None or all(reading.preference is None for reading in readings):
        return {"preference": None, "preference_from": None}
    absent = np.zeros(text_dim, np.float32)
    preference = np.stack([absent if r.preference is None else r.preference for r in readings])
    first = torch.tensor([reading.step.preference_from for reading in readings])
    return {
        "preference": torch.from_numpy(preference).to(like).repeat_interleave(counts.to(like.device), 0),
        "preference_from": first.repeat_interleave(counts, 0).to(like.device),
    }


def local_objective(model: UR4RecV2MoE, batch: LocalBatch, config: ExperimentConfig, drop: Dropout) -> LossSums:
    """L = Σ over chosen positions of (L_rec + λ·L_con + moe_balance·L_bal), with every position's surprise."""
    table = model.item_table(_rows(batch) if config.training.loss != "full_softmax" else None)
    # Contiguous, because torch's search in a table of some rows warns about anything else.
    h = model.states(table, batch.items[:, :-1].contiguous(), drop)  # [B, T, D]
    read = model.read_memory(h, table, batch.reader)
    queries = model.queries(h, read, drop)  # [B, T, D_x]
    positive = (queries * table.matrix[table.position(batch.items)]).sum(-1)  # [B, T]
    negative = queries @ table.matrix[table.position(batch.negatives)].transpose(-1, -2)  # [B, T, N]
    surprise = bpr_loss(positive, negative)
    recommendation = _recommendation_loss(queries, table, batch, positive, negative, surprise, config)
    contrastive = positive.new_zeros(())
    if config.uses_contrastive:
        per_position = model.compute_contrastive_loss(
            read, table, batch.items, batch.negatives, config.fedmem.contrastive_temperature
        )
        contrastive = contrastive if per_position is None else per_position[batch.chosen].sum()
    balance = positive.new_zeros(())
    if config.uses_memory and model.retriever.router is not None:
        gates = (h @ model.retriever.router.weight.T + model.retriever.router.bias).softmax(-1)[batch.chosen]
        balance = (gates.shape[-1] * gates.square().sum(-1) - 1).sum()
    return LossSums(
        recommendation + config.fedmem.contrastive_lambda * contrastive + config.model.moe_balance * balance,
        float(recommendation.detach()),
        float(contrastive.detach()),
        gate_sums(model, h, batch.chosen),
        surprise.detach().float().cpu().numpy(),
        table.embedding[table.position(batch.items)].detach().float().cpu().numpy(),
    )


@torch.no_grad()
def gate_sums(model: UR4RecV2MoE, h: Tensor, chosen: Tensor) -> dict[str, float]:
    """Sums over the chosen positions [B, T] of each expert's gate and of the gates' entropy, in nats; none without.

    ``h`` are the states [B, T, D].
    """
    if model.retriever is None or model.retriever.router is None:
        return {}
    gates = torch.cat(list(model.retriever.gates(h).values()), dim=-1)[chosen].double()  # [n, E]
    entropy = -torch.xlogy(gates, gates).sum()
    return dict(zip((f"gate_{name}" for name in model.retriever.experts), gates.sum(0).tolist(), strict=True)) | {
        "gate_entropy": float(entropy)
    }


def _rows(batch: LocalBatch) -> Tensor:
    """The item rows that a sampled loss touches."""
    parts = [batch.items.flatten(), batch.negatives.flatten()]
    if batch.reader.memory is not None:
        parts.append(batch.reader.memory.items.flatten())
    rows: Tensor = torch.cat(parts).unique()
    return rows


def _recommendation_loss(
    queries: Tensor,
    table: ItemTable,
    batch: LocalBatch,
    positive: Tensor,
    negative: Tensor,
    bpr: Tensor,
    config: ExperimentConfig,
) -> Tensor:
    """Sum over chosen positions. The full softmax multiplies only those, since padding would cost I products each."""
    chosen = batch.chosen
    if config.training.loss == "bpr":
        return bpr[chosen].sum()
    if config.training.loss == "sampled_softmax":
        return sampled_softmax_loss(positive, negative)[chosen].sum()
    logits = queries[chosen] @ table.matrix[1:].T  # [n, I]
    targets = batch.items[chosen] - 1
    return full_softmax_loss(logits.gather(1, targets[:, None])[:, 0], logits).sum()


def full_softmax_loss(positive: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the positive among all items: [B, T], [B, T, I] (no padding column) -> [B, T], in nats."""
    return logits.logsumexp(-1) - positive
