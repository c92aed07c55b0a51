"""Layers whose parameters are shared by a batch or given once per client.

A parameter may have a leading client dimension [C, ..]. What it is applied to then has C as its leading dimension too,
and client c is served by its own slice: C models in one call.

Beside them stand their twins in numpy, for the query of one user at a time: some hundred calls on a few thousand
numbers, on each of which a tensor library spends more than on the arithmetic.
"""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedmem.interruption import heed

FloatArray = npt.NDArray[np.float32]


class _ClientLinear(torch.autograd.Function):
    """C linear maps at once. Its own backward pass, because the gradient of Wᵀ as a view would not be contiguous.

    Where all clients have the same matrix (one that is expanded), they share the products that need no more than that,
    and only its gradients are made one by one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        if _same_for_all(weight):
            return F.linear(*_common(x, weight, bias)).expand(*x.shape[:-1], -1)
        if bias is None:
            return torch.bmm(x, weight.mT)
        return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        x, weight = ctx.saved_tensors
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = gradient @ (weight[0] if _same_for_all(weight) else weight)
        for_bias = gradient.sum(1) if ctx.needs_input_grad[2] else None
        return for_x, _for_weights(gradient, x), for_bias


def _same_for_all(values: Tensor) -> bool:
    return values.stride(0) == 0


def _common(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Take the one matrix and bias of all clients, and the one input where that is the same for all, too."""
    return x[0] if _same_for_all(x) else x, weight[0], None if bias is None else bias[0]


def _for_weights(gradient: Tensor, x: Tensor) -> Tensor:
    """Compute each client's gradient of its matrix [C, out, in], from [C, n, out] and [C, n, in]."""
    if _same_for_all(x):  # one product for all: the clients' rows under each other
        under_each_other: Tensor = gradient.mT.flatten(0, 1) @ x[0]
        return under_each_other.view(len(x), -1, x.shape[-1])
    return gradient.mT @ x


def _heed_on_the_way_back(gradient: Tensor) -> None:
    heed()


class Linear(nn.Linear):
    """x·Wᵀ + b with W [out, in] for inputs [.., in], or W [C, out, in] for inputs [C, n, in]."""

    bias: nn.Parameter | None  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Map [.., in] to [.., out]; a stop is heeded here, and again on the way back."""
        heed()
        if self.weight.dim() == 2:
            mapped = F.linear(x, self.weight, self.bias)
        else:
            mapped = _ClientLinear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        if mapped.requires_grad:
            mapped.register_hook(_heed_on_the_way_back)
        return mapped


class LayerNorm(nn.LayerNorm):
    """Layer normalisation (Ba et al., 2016) with weight and bias [D] or, for inputs [C, n, D], [C, D]."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [.., D] to [.., D]."""
        if self.weight.dim() == 1:
            return super().forward(x)
        normal = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        return torch.addcmul(self.bias.unsqueeze(1), normal, self.weight.unsqueeze(1))


def take(table: Tensor, index: Tensor) -> Tensor:
    """Take rows of a table: [n, D] at [..] -> [.., D], or of each client's own: [C, n, D] at [C, ..] -> [C, .., D]."""
    if table.dim() == 2:
        return F.embedding(index, table)
    first = torch.arange(len(table), device=index.device) * table.shape[1]
    return F.embedding(index + first.view(-1, *[1] * (index.dim() - 1)), table.flatten(0, 1))


class NumpyLinear:
    """``Linear`` in numpy: x·W + b with W [in, out]; of several layers side by side, or with a layer norm's weights."""

    def __init__(self, *layers: Linear, norm: LayerNorm | None = None) -> None:
        self.weight = np.concatenate([array_of(layer.weight) for layer in layers]).T.copy()
        self.bias: FloatArray | None = None
        if norm is not None or any(layer.bias is not None for layer in layers):
            self.bias = np.concatenate([_bias_of(layer) for layer in layers])
        if norm is not None:
            self.bias = self.bias + array_of(norm.bias) @ self.weight
            self.weight = array_of(norm.weight)[:, None] * self.weight

    def scale(self, factor: float) -> None:
        """Multiply what the layer gives."""
        self.weight = self.weight * np.float32(factor)
        self.bias = None if self.bias is None else self.bias * np.float32(factor)

    def beside(self, other: "NumpyLinear") -> "NumpyLinear":
        """Join both into one layer; each has a bias."""
        both = copy.copy(self)
        assert self.bias is not None
        assert other.bias is not None
        both.weight = np.concatenate([self.weight, other.weight], axis=1)
        both.bias = np.concatenate([self.bias, other.bias])
        return both

    def __call__(self, x: FloatArray) -> FloatArray:
        """Map [.., in] to [.., out]."""
        y: FloatArray = x @ self.weight
        if self.bias is not None:
            y += self.bias
        return y


def normalised(x: FloatArray, epsilon: np.float32) -> FloatArray:
    """Give rows [n, D] mean 0 and variance 1: ``LayerNorm`` in numpy, before its weights."""
    mean = np.full((x.shape[1], 1), 1 / x.shape[1], np.float32)
    centred: FloatArray = np.subtract(x, x @ mean)
    variance = np.einsum("nd,nd->n", centred, centred)[:, None] / np.float32(x.shape[1])
    centred /= np.sqrt(variance + epsilon)
    return centred


def softmax(logits: FloatArray, axis: int = -1) -> FloatArray:
    """Take the softmax over one dimension, in place."""
    logits -= np.maximum.reduce(logits, axis=axis, keepdims=True)
    np.exp(logits, out=logits)
    logits /= np.add.reduce(logits, axis=axis, keepdims=True)
    return logits


def _bias_of(layer: Linear) -> FloatArray:
    return np.zeros(layer.out_features, np.float32) if layer.bias is None else array_of(layer.bias)


def array_of(tensor: Tensor) -> FloatArray:
    """Copy a tensor's numbers into single precision on the CPU; without a copy where they are that already."""
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return array
