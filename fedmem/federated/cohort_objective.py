"""One local step of many clients: their tokens side by side, and the objective of ``local_objective`` on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig
from fedmem.federated.local_objective import gate_sums
from fedmem.federated.local_steps import LocalStep
from fedmem.model.layers import take
from fedmem.model.losses import bpr_loss, full_softmax_sum, sampled_softmax_sum
from fedmem.model.packing import Packing
from fedmem.model.recommender import ItemTable, Reader, UR4RecV2MoE
from fedmem.model.sasrec import Dropout

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CohortTokens:
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
    def of(cls, steps: Sequence[LocalStep], device: torch.device) -> "CohortTokens":
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

    @property
    def real(self) -> npt.NDArray[np.bool_]:
        """Which tokens are no padding [C, P]."""
        return self.targets > 0


def _widened(values: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    wide = np.zeros((len(values), width), values.dtype)
    wide[:, : values.shape[1]] = values
    return wide


@dataclass(frozen=True, eq=False)
class CohortBatch:
    """What the objective takes, as tensors: C clients, P tokens, N negatives.

    Attributes:
        targets, inputs, chosen: as in ``CohortTokens``.
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


@dataclass(frozen=True, eq=False)
class Surprises:
    """What the memories are written from: each token's surprise, in nats [C, P], and its target's e_i [C, P, D]."""

    surprise: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CohortLosses:
    """As ``LossSums``, over all clients.

    Attributes:
        total: Σ weight·(L_rec + λ·L_con), to be differentiated.
        recommendation: each client's Σ L_rec over its chosen tokens, in nats [C].
        contrastive: Σ L_con over the chosen tokens, in nats.
        gates: sums over the chosen tokens, as ``gate_sums`` makes them.
        surprises: for the memories; None where there are none.
    """

    total: Tensor
    recommendation: FloatArray
    contrastive: float
    gates: Mapping[str, float]
    surprises: Surprises | None


def cohort_objective(
    model: UR4RecV2MoE, batch: CohortBatch, config: ExperimentConfig, drop: Dropout, ids: Tensor | None = None
) -> CohortLosses:
    """The objective of many clients; ``ids`` are the id embeddings of ``batch.rows`` if they were taken out."""
    table = model.item_table(batch.rows, ids)
    h = model.packed_states(table, batch.inputs, batch.packing, drop)  # [C, P, D]
    read = model.read_memory(h, table, batch.reader)
    queries = model.queries(h, read, drop)  # [C, P, D_x]
    total, recommendation = _recommendation_loss(queries, table, batch, config)
    contrastive = 0.0
    if config.uses_contrastive:
        loss = model.compute_contrastive_loss(
            read, table, batch.targets, batch.negatives, config.fedmem.contrastive_temperature
        )
        if loss is not None:
            weighted, by_client = _weighted(loss, batch)
            total, contrastive = total + config.fedmem.contrastive_lambda * weighted, float(by_client.sum())
    surprises = _surprises(queries, table, batch) if config.uses_memory else None
    return CohortLosses(total, recommendation, contrastive, gate_sums(model, h, batch.chosen), surprises)


def _recommendation_loss(
    queries: Tensor, table: ItemTable, batch: CohortBatch, config: ExperimentConfig
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


@torch.no_grad()
def _surprises(queries: Tensor, table: ItemTable, batch: CohortBatch) -> Surprises:
    position = table.position(batch.targets)
    positive = (queries * take(table.matrix, position)).sum(-1)  # [C, P]
    negative = queries @ take(table.matrix, table.position(batch.negatives)).mT  # [C, P, N]
    return Surprises(_array(bpr_loss(positive, negative)), _array(take(table.embedding, position)))


def _weighted(loss: Tensor, batch: CohortBatch) -> tuple[Tensor, FloatArray]:
    """The sum to be differentiated and each client's plain sum over its chosen tokens [C]."""
    return (loss * batch.weight).sum(), _by_client(loss, batch)


def _by_client(loss: Tensor, batch: CohortBatch) -> FloatArray:
    """[C, P] -> [C], over the chosen tokens."""
    sums: FloatArray = loss.detach().masked_fill(~batch.chosen, 0).sum(1).double().cpu().numpy()
    return sums


def _full_softmax(queries: Tensor, table: ItemTable, batch: CohortBatch) -> tuple[Tensor, FloatArray]:
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
