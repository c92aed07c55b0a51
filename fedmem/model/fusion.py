"""Fusion of the sequence score and the retriever's score, as two factors on the query's parts."""

from typing import Literal

import torch
from torch import Tensor, nn

from fedmem.model.layers import FloatArray, Linear, NumpyLinear, array_of, softmax


class Fusion(nn.Module):
    """Factors (a, b) of s = a·s_seq + b·s_ret.

    ``weighted``: (1, w_r / w_s), which ranks as w_s·s_seq + w_r·s_ret does and leaves s_seq bit for bit.
    ``learned``: two trained scalars. ``adaptive``: 2·softmax of a linear map of the user's state, scaled by the
    weighted start. Both start from ``weighted``.
    """

    def __init__(
        self, method: Literal["weighted", "learned", "adaptive"], dim: int, sequence: float, retriever: float
    ) -> None:
        super().__init__()
        self.method = method
        self.ratio = retriever / sequence
        if method == "learned":
            self.scalars = nn.Parameter(torch.tensor([1.0, self.ratio]))
        elif method == "adaptive":
            self.gate = Linear(dim, 2)

    def forward(self, h: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Map the state [B, T, D] to the two factors, each a float or broadcast to [B, T, 1]."""
        if self.method == "weighted":
            return 1.0, self.ratio
        if self.method == "learned":
            return self.scalars[..., None, :1], self.scalars[..., None, 1:]  # of a model, or of each of C
        weights = 2 * self.gate(h).softmax(-1)  # [B, T, 2]
        return weights[..., :1], self.ratio * weights[..., 1:]


class NumpyFusion:
    """``Fusion`` of one user, in numpy."""

    def __init__(self, fusion: Fusion) -> None:
        self.fixed: tuple[float, float] | None = None
        if fusion.method == "weighted":
            self.fixed = (1.0, fusion.ratio)
        elif fusion.method == "learned":
            sequence, retriever = array_of(fusion.scalars).tolist()
            self.fixed = (sequence, retriever)
        else:
            self.gate, self.ratio = NumpyLinear(fusion.gate), fusion.ratio

    def weights(self, h: FloatArray) -> tuple[float, float]:
        """Compute the factors (a, b) of a user's state [D]."""
        if self.fixed is not None:
            return self.fixed
        sequence, retriever = (2 * softmax(self.gate(h))).tolist()
        return sequence, self.ratio * retriever
