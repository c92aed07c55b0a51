"""The objective of a local step in three parts: encode the tokens, measure how surprising each is, compute the loss.

Training takes all three; replaying a history needs no loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.config import ExperimentConfig, FedMemConfig
from fedmem.federated.chunk_batch import ChunkBatch
from fedmem.modality import Modality
from fedmem.model.item_vectors import ItemTable
from fedmem.model.layers import take
from fedmem.model.losses import bpr_loss
from fedmem.model.recommendation_losses import LOSSES, RecommendationLoss, weighted_sums
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.model.sasrec import Dropout

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objective:
    """What a local step minimises, and whether it measures surprise.

    Attributes:
        loss: L_rec.
        contrastive: λ and the temperature of L_con, or None where it takes no part.
        surprising: whether there are memories, which are written by surprise.
        balance: weight of the loss that keeps all experts in use, 0 where they read nothing.
    """

    loss: RecommendationLoss
    contrastive: FedMemConfig | None
    surprising: bool
    balance: float = 0.0

    @classmethod
    def of(cls, config: ExperimentConfig) -> "Objective":
        """Pick what this takes of a configuration."""
        contrastive = config.fedmem if config.uses_contrastive else None
        balance = config.model.moe_balance if config.uses_memory else 0.0
        return cls(LOSSES[config.training.loss], contrastive, config.uses_memory, balance)


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
    read: dict[Modality, Tensor]
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
        total: Σ weight·(L_rec + λ·L_con + moe_balance·L_bal), to be differentiated.
        recommendation: each client's Σ L_rec over its chosen tokens, in nats [C].
        contrastive: each client's Σ L_con over its chosen tokens, in nats [C]; zeros where it takes no part.
    """

    total: Tensor
    recommendation: FloatArray
    contrastive: FloatArray


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


def losses(objective: Objective, model: UR4RecV2MoE, encoded: Encoded, batch: ChunkBatch) -> Losses:
    """Compute L = L_rec + λ·L_con + moe_balance·L_bal of a batch, from what the model makes of it."""
    contrastive, retriever = objective.contrastive, model.retriever
    total, recommendation = objective.loss.sums(encoded.queries, encoded.table, batch)
    if objective.balance and retriever is not None and retriever.router is not None:
        total = total + objective.balance * weighted_sums(retriever.imbalance(encoded.states), batch)[0]
    nothing = np.zeros_like(recommendation)
    if contrastive is None:
        return Losses(total, recommendation, nothing)
    by_position = model.compute_contrastive_loss(
        encoded.read, encoded.table, batch.targets, batch.negatives, contrastive.contrastive_temperature
    )
    if by_position is None:
        return Losses(total, recommendation, nothing)
    weighted, by_client = weighted_sums(by_position, batch)
    return Losses(total + contrastive.contrastive_lambda * weighted, recommendation, by_client)


@torch.no_grad()
def token_gates(model: UR4RecV2MoE, states: Tensor) -> dict[str, Tensor]:
    """Compute each expert's gate [C, P, 1] from the model's states [C, P, D]; nothing without gates."""
    if model.retriever is None or model.retriever.router is None:
        return {}
    return dict(zip(model.retriever.experts, model.retriever.gates(states).values(), strict=True))


def gate_sums(gates: Mapping[str, Tensor], chosen: Tensor) -> Mapping[str, float]:
    """Sum over the chosen positions [C, P] each expert's gate and the gates' entropy, in nats; nothing of none."""
    if not gates:
        return {}
    found = torch.cat(list(gates.values()), dim=-1)[chosen].double()  # [n, E]
    entropy = -torch.xlogy(found, found).sum()
    return dict(zip(gates, found.sum(0).tolist(), strict=True)) | {"entropy": float(entropy)}


def _array(x: Tensor) -> npt.NDArray[np.float32]:
    return x.float().cpu().numpy()
