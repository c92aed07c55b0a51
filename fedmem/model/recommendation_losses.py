"""The recommendation losses that a configuration may choose, over the positions of many clients at once.

C clients, P positions of each, N negatives of each, I items.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.model.item_vectors import ItemTable
from fedmem.model.layers import take
from fedmem.model.losses import bpr_loss, full_softmax_sum, sampled_softmax_sum

FloatArray = npt.NDArray[np.float64]
Sums = tuple[Tensor, FloatArray]


class Positions(Protocol):
    """What is to be predicted: targets [C, P], which of them count and with what weight [C, P], negatives [C, N]."""

    @property
    def targets(self) -> Tensor: ...
    @property
    def chosen(self) -> Tensor: ...
    @property
    def weight(self) -> Tensor: ...
    @property
    def negatives(self) -> Tensor: ...


@dataclass(frozen=True)
class RecommendationLoss:
    """A loss by the name that configurations have for it.

    Attributes:
        sums: from the queries [C, P, D_x], the item vectors and the positions to the weighted sum, to be
            differentiated, and each client's plain sum over its chosen positions [C], in nats.
        whole_catalogue: whether it scores every item, so that every item row is read and changed.
    """

    sums: Callable[[Tensor, ItemTable, Positions], Sums]
    whole_catalogue: bool = False


def sampled(loss: Callable[[Tensor, Tensor], Tensor]) -> RecommendationLoss:
    """Make a loss of its formula by position: scores of the target [C, P] and the negatives [C, P, N] -> [C, P]."""

    def sums(queries: Tensor, table: ItemTable, positions: Positions) -> Sums:
        targets, negatives = _vectors(table, positions)
        return weighted_sums(loss((queries * targets).sum(-1), queries @ negatives.mT), positions)

    return RecommendationLoss(sums)


def weighted_sums(loss: Tensor, positions: Positions) -> Sums:
    """Sum a loss [C, P] with the positions' weights, and plainly over each client's chosen ones [C]."""
    return (loss * positions.weight).sum(), _by_client(loss, positions)


def _by_client(loss: Tensor, positions: Positions) -> FloatArray:
    sums: FloatArray = loss.detach().masked_fill(~positions.chosen, 0).sum(1).double().cpu().numpy()
    return sums


def _vectors(table: ItemTable, positions: Positions) -> tuple[Tensor, Tensor]:
    """Look up the targets' item vectors [C, P, D_x] and the negatives' [C, N, D_x] at once."""
    sizes = [positions.targets.shape[1], positions.negatives.shape[1]]
    items = torch.cat([positions.targets, positions.negatives], dim=1)
    targets, negatives = take(table.matrix, table.position(items)).split(sizes, 1)
    return targets, negatives


def _sampled_softmax(queries: Tensor, table: ItemTable, positions: Positions) -> Sums:
    total, loss = sampled_softmax_sum(queries, *_vectors(table, positions), positions.weight)
    return total, _by_client(loss, positions)


def _full_softmax(queries: Tensor, table: ItemTable, positions: Positions) -> Sums:
    """Sum in one pass for a shared table, client by client if each has its own."""
    chosen, targets, weight = positions.chosen, positions.targets, positions.weight
    if table.matrix.dim() == 2:
        total, loss = full_softmax_sum(queries[chosen], table.matrix, targets[chosen], weight[chosen])
        return total, _by_client(torch.zeros_like(weight).masked_scatter_(chosen, loss), positions)
    totals, plain = [], []
    for q, matrix, t, c, w in zip(queries, table.matrix, targets, chosen, weight, strict=True):
        total, loss = full_softmax_sum(q[c], matrix, t[c], w[c])
        totals.append(total)
        plain.append(float(loss.sum()))
    return torch.stack(totals).sum(), np.array(plain)


LOSSES: Mapping[str, RecommendationLoss] = {
    "bpr": sampled(bpr_loss),
    "sampled_softmax": RecommendationLoss(_sampled_softmax),
    "full_softmax": RecommendationLoss(_full_softmax, whole_catalogue=True),
}
