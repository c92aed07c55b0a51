"""Losses per position. L letters: B segments, T positions, N negatives, I items."""

import torch
from torch import Tensor
from torch.nn import functional as F


def bpr_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Mean over negatives of −log σ(s⁺ − s⁻) (Rendle et al., UAI 2009): [B, T], [B, T, N] -> [B, T], in nats."""
    return F.softplus(negative - positive.unsqueeze(-1)).mean(-1)


def sampled_softmax_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """Cross-entropy of the positive among itself and its negatives: [B, T], [B, T, N] -> [B, T], in nats."""
    return torch.logaddexp(positive, negative.logsumexp(-1)) - positive


def full_softmax_loss(positive: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the positive among all items: [B, T], [B, T, I] (no padding column) -> [B, T], in nats."""
    return logits.logsumexp(-1) - positive


def info_nce(user: Tensor, positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """InfoNCE with cosine similarity (van den Oord et al., 2018).

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
