"""Causal attention of many short segments at once.

Up to ``LONGEST_EXPLICIT`` positions the table of weights is small enough to be written out, which on a CPU is quicker
than torch's blocked kernel; above, that kernel is.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST_EXPLICIT = 128


class _Explicit(torch.autograd.Function):
    """softmax(q·kᵀ/√d + causal mask)·v with the backward pass written out, so that nothing is computed twice."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.scale = q.shape[-1] ** -0.5
        mask = q.new_full((q.shape[1], q.shape[1]), float("-inf")).triu(1)
        weights = torch.baddbmm(mask, q, k.mT, alpha=ctx.scale).softmax(-1)
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, weights = ctx.saved_tensors
        for_weights = gradient @ v.mT
        for_logits = (for_weights - (for_weights * weights).sum(-1, keepdim=True)).mul_(weights).mul_(ctx.scale)
        return for_logits @ k, for_logits.mT @ q, weights.mT @ gradient


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q·kᵀ/√d)·v where a position sees itself and those before it (Vaswani et al., 2017): three [n, T, d]."""
    if q.shape[1] > LONGEST_EXPLICIT:
        # The blocked kernel takes four dimensions only.
        return F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
    attended: Tensor = _Explicit.apply(q, k, v)  # type: ignore[no-untyped-call]
    return attended
