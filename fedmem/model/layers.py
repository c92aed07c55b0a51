"""Layers whose parameters are shared by a batch or stand once per client.

A parameter may have a leading client dimension [C, ..]. What it is applied to then has C as its leading dimension too,
and client c is served by its own slice: C models in one call.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _ClientLinear(torch.autograd.Function):
    """C linear maps at once. Its own backward pass, because the gradient of Wᵀ as a view would not be contiguous."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        if bias is None:
            return torch.bmm(x, weight.mT)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x = gradient @ weight if ctx.needs_input_grad[0] else None
        for_bias = gradient.sum(1) if ctx.needs_input_grad[2] else None
        return for_x, gradient.mT @ x, for_bias


class Linear(nn.Linear):
    """x·Wᵀ + b with W [out, in] for inputs [.., in], or W [C, out, in] for inputs [C, n, in]."""

    bias: nn.Parameter | None  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """[.., in] -> [.., out]."""
        if self.weight.dim() == 2:
            return F.linear(x, self.weight, self.bias)
        mapped: Tensor = _ClientLinear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return mapped


class LayerNorm(nn.LayerNorm):
    """Layer normalisation (Ba et al., 2016) with weight and bias [D] or, for inputs [C, n, D], [C, D]."""

    def forward(self, x: Tensor) -> Tensor:
        """[.., D] -> [.., D]."""
        if self.weight.dim() == 1:
            return super().forward(x)
        normal = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        return torch.addcmul(self.bias.unsqueeze(1), normal, self.weight.unsqueeze(1))


def take(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table: [n, D] at [..] -> [.., D], or of each client's own: [C, n, D] at [C, ..] -> [C, .., D]."""
    if table.dim() == 2:
        return F.embedding(index, table)
    first = torch.arange(len(table), device=index.device) * table.shape[1]
    return F.embedding(index + first.view(-1, *[1] * (index.dim() - 1)), table.flatten(0, 1))
