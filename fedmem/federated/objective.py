"""The objective of a local step in three parts: encode the tokens, measure how surprising each is, compute the loss.

Training takes all three; replaying a history needs no loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.federated.chunk_batch import ChunkBatch
from fedmem.model.layers import take
from fedmem.model.losses import bpr_loss, full_softmax_sum, sampled_softmax_sum
from fedmem.model.recommender import ItemTable, UR4RecV2MoE
from fedmem.model.sasrec import Dropout

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the model makes of a batch: of P positions of each of C clients (or of C segments).

    Attributes:
        table: the item vectors.
        states: h [C, P, D].
        read: what each expert read from the memories [C, P, D]; empty without.
        queries: q [C, P, D_x].
    """

    table: ItemTable
    states: Tensor
    read: dict[str, Tensor]
    queries: Tensor


@dataclass(frozen=True, eq=False)
class Surprises:
    """What the memories are written from: each token's surprise, in nats [C, P], and its target's e_i [C, P, D]."""

    surprise: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Losses:
    """The loss of a batch.

    Attributes:
        total: Σ weight·(L_rec + λ·L_con), to be differentiated.
        recommendation: each client's Σ L_rec over its chosen tokens, in nats [C].
        contrastive: Σ L_con over the chosen tokens, in nats.
    """

    total: Tensor
    recommendation: FloatArray
    contrastive: float


def encode(model: UR4RecV2MoE, batch: ChunkBatch, drop: Dropout, ids: Tensor | None = None) -> Encoded:
    """Run the model over a batch; ``ids`` are the id embeddings of ``batch.rows`` if they were taken out."""
    table = model.item_table(batch.rows, ids)
    h = model.packed_states(table, batch.inputs, batch.packing, drop)  # [C, P, D]
    read = model.read_memory(h, table, batch.reader)
    return Encoded(table, h, read, model.queries(h, read, drop))


@torch.no_grad()
def surprises(queries: Tensor, table: ItemTable, targets: Tensor, negatives: Tensor) -> Surprises:
    """Measure each target's surprise: its mean BPR loss against the negatives.

    Args:
        queries: q of each position [C, P, D_x].
        table: the item vectors.
        targets: the items to be predicted [C, P].
        negatives: [C, N].
    """
    position = table.position(targets)
    positive = (queries * take(table.matrix, position)).sum(-1)  # [C, P]
    negative = queries @ take(table.matrix, table.position(negatives)).mT  # [C, P, N]
    return Surprises(_array(bpr_loss(positive, negative)), _array(take(table.embedding, position)))


def losses(model: UR4RecV2MoE, encoded: Encoded, batch: ChunkBatch, config: ExperimentConfig) -> Losses:
    """Compute L = L_rec + λ·L_con of a batch."""
    total, recommendation = _recommendation_loss(encoded.queries, encoded.table, batch, config)
    if not config.uses_contrastive:
        return Losses(total, recommendation, 0.0)
    loss = model.compute_contrastive_loss(
        encoded.read, encoded.table, batch.targets, batch.negatives, config.fedmem.contrastive_temperature
    )
    if loss is None:
        return Losses(total, recommendation, 0.0)
    weighted, by_client = _weighted(loss, batch)
    return Losses(total + config.fedmem.contrastive_lambda * weighted, recommendation, float(by_client.sum()))


@torch.no_grad()
def gate_sums(model: UR4RecV2MoE, states: Tensor, chosen: Tensor) -> Mapping[str, float]:
    """Sum over the chosen positions [C, P] each expert's gate and the gates' entropy, in nats; nothing without gates.

    ``states`` are the model's [C, P, D].
    """
    if model.retriever is None or model.retriever.router is None:
        return {}
    gates = torch.cat(list(model.retriever.gates(states).values()), dim=-1)[chosen].double()  # [n, E]
    entropy = -torch.xlogy(gates, gates).sum()
    return dict(zip((f"gate_{name}" for name in model.retriever.experts), gates.sum(0).tolist(), strict=True)) | {
        "gate_entropy": float(entropy)
    }


def _recommendation_loss(
    queries: Tensor, table: ItemTable, batch: ChunkBatch, config: ExperimentConfig
) -> tuple[Tensor, FloatArray]:
    """The sum to be differentiated and each client's plain sum over its chosen tokens [C]."""
    if config.training.loss == "full_softmax":
        return _full_softmax(queries, table, batch)
    sampled = torch.cat([batch.targets, batch.negatives], dim=1)
    positives, negatives = take(table.matrix, table.position(sampled)).split(
        [queries.shape[1], batch.negatives.shape[1]], 1
    )
    if config.training.loss == "sampled_softmax":
        total, loss = sampled_softmax_sum(queries, positives, negatives, batch.weight)
        return total, _by_client(loss, batch)
    return _weighted(bpr_loss((queries * positives).sum(-1), queries @ negatives.mT), batch)


def _weighted(loss: Tensor, batch: ChunkBatch) -> tuple[Tensor, FloatArray]:
    """The sum to be differentiated and each client's plain sum over its chosen tokens [C]."""
    return (loss * batch.weight).sum(), _by_client(loss, batch)


def _by_client(loss: Tensor, batch: ChunkBatch) -> FloatArray:
    """[C, P] -> [C], over the chosen tokens."""
    sums: FloatArray = loss.detach().masked_fill(~batch.chosen, 0).sum(1).double().cpu().numpy()
    return sums


def _full_softmax(queries: Tensor, table: ItemTable, batch: ChunkBatch) -> tuple[Tensor, FloatArray]:
    """One pass for a shared table; client by client where each has its own."""
    if table.matrix.dim() == 2:
        chosen = batch.chosen
        total, loss = full_softmax_sum(queries[chosen], table.matrix, batch.targets[chosen], batch.weight[chosen])
        return total, _by_client(torch.zeros_like(batch.weight).masked_scatter_(chosen, loss), batch)
    totals, plain = [], []
    for q, matrix, targets, chosen, weight in zip(
        queries, table.matrix, batch.targets, batch.chosen, batch.weight, strict=True
    ):
        total, loss = full_softmax_sum(q[chosen], matrix, targets[chosen], weight[chosen])
        totals.append(total)
        plain.append(float(loss.sum()))
    return torch.stack(totals).sum(), np.array(plain)


def _array(x: Tensor) -> npt.NDArray[np.float32]:
    return x.float().cpu().numpy()
