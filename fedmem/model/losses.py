"""Losses per position. L letters: B segments, T positions, N negatives, I items."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fedmem.interruption import heed

_BLOCK_LOGITS = 2**18  # logits held at a time on a CPU: 1 MB in float32, which its caches hold
_GPU_BLOCK_LOGITS = 2**26  # on a GPU, which waits for the next operation longer than it works on a small one: 256 MB


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Average −log σ(s⁺ − s⁻) over negatives (Rendle et al., UAI 2009): [B, T], [B, T, N] -> [B, T], in nats."""
    return F.softplus(negative - positive.unsqueeze(-1)).mean(-1)


def sampled_softmax_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Compute the positive's cross-entropy among itself and its negatives: [B, T], [B, T, N] -> [B, T], in nats."""
    return torch.logaddexp(positive, negative.logsumexp(-1)) - positive


def info_nce(user: Tensor, positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE with cosine similarity (van den Oord et al., 2018).

    Args:
        user: preference vectors [B, T, D].
        positive: item vectors of the targets [B, T, D].
        negative: item vectors of the negatives, shared by a segment's positions [B, N, D].
        temperature: τ.

    Returns:
        Loss per position [B, T], in nats.
    """
    user, positive, negative = (F.normalize(x, dim=-1) for x in (user, positive, negative))
    positive_similarity = (user * positive).sum(-1) / temperature  # [B, T]
    negative_similarity = user @ negative.transpose(-1, -2) / temperature  # [B, T, N]
    return sampled_softmax_loss(positive_similarity, negative_similarity)


class _FullSoftmaxSum(torch.autograd.Function):
    """Block by block, so that no [n, I] table of logits leaves the cache; gradients are made on the way."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, matrix: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        items = matrix[1:]
        for_queries, for_matrix = torch.empty_like(queries), torch.zeros_like(matrix)
        losses = torch.empty_like(weight)
        held = _BLOCK_LOGITS if queries.device.type == "cpu" else _GPU_BLOCK_LOGITS
        for rows in torch.arange(len(queries)).split(max(1, held // len(items))):
            heed()
            block = slice(int(rows[0]), int(rows[-1]) + 1)
            target = (targets[block] - 1).unsqueeze(1)
            logits = queries[block] @ items.T  # [b, I]
            logits -= logits.amax(1, keepdim=True)
            positive = logits.gather(1, target)
            total = logits.exp_().sum(1, keepdim=True)
            losses[block] = (total.log() - positive).squeeze(1)
            share = logits.mul_(weight[block].unsqueeze(1) / total)  # from here on the gradient's factor
            share.scatter_add_(1, target, -weight[block].unsqueeze(1))
            torch.mm(share, items, out=for_queries[block])
            for_matrix[1:].addmm_(share.T, queries[block])
        ctx.save_for_backward(for_queries, for_matrix)
        ctx.mark_non_differentiable(losses)
        return losses @ weight, losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        for_queries, for_matrix = ctx.saved_tensors
        return gradient * for_queries, gradient * for_matrix, None, None


def full_softmax_sum(queries: Tensor, matrix: Tensor, targets: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compute Σ_t weight_t · cross-entropy of target t among all items, without keeping the logits.

    Args:
        queries: [n, D_x].
        matrix: X [I + 1, D_x]; row 0 is padding and takes no part.
        targets: item indices [n].
        weight: [n], without gradient.

    Returns:
        The sum, and without gradient each position's loss [n], in nats.
    """
    total, losses = _FullSoftmaxSum.apply(queries, matrix, targets, weight)  # type: ignore[no-untyped-call]
    return total, losses


class _SampledSoftmaxSum(torch.autograd.Function):
    """Gradients are made on the way, from the one table of scores."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, positives: Tensor, negatives: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        positive = (queries * positives).sum(-1, keepdim=True)  # [C, P, 1]
        share = queries @ negatives.mT  # [C, P, N]
        top = torch.maximum(share.amax(-1, keepdim=True), positive)
        share = share.sub_(top).exp_()
        positive = positive - top
        total = share.sum(-1, keepdim=True) + positive.exp()
        losses = total.log() - positive
        share.mul_(weight.unsqueeze(-1) / total)  # from here on the gradient's factor
        missing = share.sum(-1, keepdim=True)  # w·(1 − the positive's share)
        ctx.save_for_backward(share @ negatives - missing * positives, -missing * queries, share.mT @ queries)
        losses = losses.squeeze(-1)
        ctx.mark_non_differentiable(losses)
        return (losses * weight).sum(), losses

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        for_queries, for_positives, for_negatives = ctx.saved_tensors
        return gradient * for_queries, gradient * for_positives, gradient * for_negatives, None


def sampled_softmax_sum(queries: Tensor, positives: Tensor, negatives: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Compute Σ weight · cross-entropy of each token's positive among itself and its client's negatives.

    Args:
        queries: [C, P, D_x].
        positives: the targets' item vectors [C, P, D_x].
        negatives: [C, N, D_x].
        weight: [C, P], without gradient.

    Returns:
        The sum, and without gradient each token's loss [C, P], in nats.
    """
    total, losses = _SampledSoftmaxSum.apply(queries, positives, negatives, weight)  # type: ignore[no-untyped-call]
    return total, losses
