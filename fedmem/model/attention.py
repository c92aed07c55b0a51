"""Causal attention of many short segments at once."""

import torch
from torch import Tensor
from torch.nn import functional as F

# Up to this many positions the table of weights is small enough to be written out, which on a CPU is quicker than
# torch's blocked kernel.
LONGEST_EXPLICIT = 128


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute causal softmax(q·kᵀ/√d)·v (Vaswani et al., 2017) of three [n, T, d]; a position sees none after it."""
    length = q.shape[1]
    if length > LONGEST_EXPLICIT:
        # The blocked kernel takes four dimensions only.
        return F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
    mask = q.new_full((length, length), float("-inf")).triu(1)
    return torch.baddbmm(mask, q * q.shape[-1] ** -0.5, k.mT).softmax(-1) @ v
