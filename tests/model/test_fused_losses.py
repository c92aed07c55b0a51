"""Losses that make their gradients on the way, against the plain ones by autograd."""

import pytest
import torch
from torch import Tensor

from fedmem.model import losses
from fedmem.model.losses import full_softmax_sum, sampled_softmax_loss, sampled_softmax_sum
from tests.reference.objective import full_softmax_loss


def drawn(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def leaves(*parts: Tensor) -> list[Tensor]:
    return [part.clone().requires_grad_() for part in parts]


def same_gradients(found: Tensor, expected: Tensor, ours: list[Tensor], theirs: list[Tensor]) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    (3 * found).backward()
    (3 * expected).backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block", [1, 20, 10**6])
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_full_softmax(monkeypatch, block, scale):
    monkeypatch.setattr(losses, "_BLOCK_LOGITS", block)
    queries, matrix = drawn(7, 4), drawn(10, 4, scale=scale)
    targets, weight = torch.tensor([1, 9, 3, 3, 2, 5, 8]), torch.tensor([1.0, 0.0, 0.5, 2.0, 1.0, 1.0, 0.25]).double()
    ours, theirs = leaves(queries, matrix), leaves(queries, matrix)
    total, each = full_softmax_sum(*ours, targets, weight)
    logits = theirs[0] @ theirs[1][1:].T
    plain = full_softmax_loss(logits.gather(1, targets[:, None] - 1)[:, 0], logits)
    torch.testing.assert_close(each, plain.detach(), rtol=1e-12, atol=1e-12)
    assert torch.isfinite(each).all()
    same_gradients(total, (plain * weight).sum(), ours, theirs)
    assert not ours[1].grad[0].any()  # the padding row takes no part


@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_sampled_softmax(scale):
    """Scores are largest at a negative for some tokens, at the positive for others."""
    queries, positives = drawn(2, 5, 4), drawn(2, 5, 4, scale=scale).flip(1)
    positives[:, 0] = 5 * scale * queries[:, 0]
    parts = queries, positives, drawn(2, 6, 4, scale=scale)
    weight = drawn(2, 5).abs().round(decimals=1)
    ours, theirs = leaves(*parts), leaves(*parts)
    total, each = sampled_softmax_sum(*ours, weight)
    positive, negative = (theirs[0] * theirs[1]).sum(-1), theirs[0] @ theirs[2].mT
    margin = (positive - negative.amax(-1)).detach()
    assert margin.min() < 0 < margin.max()
    assert scale == 1 or margin.max() > 710  # where exp overflows
    plain = sampled_softmax_loss(positive, negative)
    torch.testing.assert_close(each, plain.detach(), rtol=1e-12, atol=1e-12)
    assert torch.isfinite(each).all()
    same_gradients(total, (plain * weight).sum(), ours, theirs)
