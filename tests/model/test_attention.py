"""Causal attention, written out for short segments and torch's kernel for long ones."""

import pytest
import torch
from torch.nn import functional as F

from fedmem.model.attention import LONGEST_EXPLICIT, causal_attention


@pytest.mark.parametrize("length", [1, 5, LONGEST_EXPLICIT, LONGEST_EXPLICIT + 1])
def test_it_is_scaled_dot_product_attention(length):
    generator = torch.Generator().manual_seed(length)
    parts = [torch.randn(3, length, 4, generator=generator, dtype=torch.float64) for _ in range(3)]
    ours, theirs = ([p.clone().requires_grad_() for p in parts] for _ in range(2))
    found = causal_attention(*ours)
    expected = F.scaled_dot_product_attention(*theirs, is_causal=True)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    (found * upstream).sum().backward()
    (expected * upstream).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("length", [5, LONGEST_EXPLICIT + 1])
def test_no_position_sees_a_later_one(length):
    generator = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(1, length, 2, generator=generator) for _ in range(3))
    before = causal_attention(q, k, v)
    k, v = k.clone(), v.clone()
    k[:, 3:], v[:, 3:] = 9.0, 9.0
    torch.testing.assert_close(causal_attention(q, k, v)[:, :3], before[:, :3])
    assert not torch.allclose(causal_attention(q, k, v)[:, 3:], before[:, 3:])
