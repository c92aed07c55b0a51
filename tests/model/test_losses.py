"""Losses against numbers made by hand, against torch's own, and against what must not change them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional as F

from fedmem.model.losses import bpr_loss, info_nce, sampled_softmax_loss
from tests.reference.objective import full_softmax_loss

NEGATIVES = 4
score = st.floats(-30, 30)
positives = arrays(np.float64, (2, 3), elements=score)
negatives = arrays(np.float64, (2, 3, NEGATIVES), elements=score)


def tensors(*values: np.ndarray) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(value) for value in values)


def exact(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def test_bpr_by_hand() -> None:
    loss = bpr_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([[[2.0, 1.0], [0.0, 0.0]]]))
    first = (math.log(2) + math.log(1 + math.exp(-1))) / 2
    exact(loss, torch.tensor([[first, math.log(2)]]), 1e-6)


def test_sampled_softmax_by_hand() -> None:
    loss = sampled_softmax_loss(torch.tensor([[0.0]]), torch.tensor([[[math.log(2.0), 0.0]]]))
    exact(loss, torch.tensor([[math.log(4)]]), 1e-6)


def test_full_softmax_by_hand() -> None:
    logits = torch.tensor([[[math.log(3.0), 0.0, 0.0]]])
    exact(full_softmax_loss(logits[..., 0], logits), torch.tensor([[math.log(5 / 3)]]), 1e-6)
    exact(full_softmax_loss(logits[..., 1], logits), torch.tensor([[math.log(5)]]), 1e-6)


@given(positives, negatives)
def test_bpr_is_the_mean_of_logsigmoid(positive: np.ndarray, negative: np.ndarray) -> None:
    s, n = tensors(positive, negative)
    exact(bpr_loss(s, n), -F.logsigmoid(s[..., None] - n).mean(-1), 1e-8)


@given(positives, negatives)
def test_both_softmax_losses_are_cross_entropy(positive: np.ndarray, negative: np.ndarray) -> None:
    s, n = tensors(positive, negative)
    logits = torch.cat([s[..., None], n], dim=-1)
    expected = F.cross_entropy(logits.flatten(0, 1), torch.zeros(6, dtype=torch.long), reduction="none").view(2, 3)
    exact(sampled_softmax_loss(s, n), expected)
    exact(full_softmax_loss(s, logits), expected)


@given(positives, negatives, st.floats(-100, 100))
def test_a_shift_of_all_scores_changes_no_loss(positive: np.ndarray, negative: np.ndarray, shift: float) -> None:
    s, n = tensors(positive, negative)
    exact(bpr_loss(s + shift, n + shift), bpr_loss(s, n), 1e-8)
    exact(sampled_softmax_loss(s + shift, n + shift), sampled_softmax_loss(s, n), 1e-11)
    exact(full_softmax_loss(n[..., 0] + shift, n + shift), full_softmax_loss(n[..., 0], n), 1e-11)


@given(positives, negatives, st.permutations(range(NEGATIVES)))
def test_the_order_of_negatives_is_nothing(positive: np.ndarray, negative: np.ndarray, order: list[int]) -> None:
    s, n = tensors(positive, negative)
    exact(bpr_loss(s, n[..., order]), bpr_loss(s, n))
    exact(sampled_softmax_loss(s, n[..., order]), sampled_softmax_loss(s, n))


@given(positives, negatives, st.floats(0.1, 5))
def test_a_better_positive_has_a_smaller_loss(positive: np.ndarray, negative: np.ndarray, gain: float) -> None:
    s, n = tensors(positive, negative)
    assert (bpr_loss(s + gain, n) < bpr_loss(s, n)).all()
    assert (sampled_softmax_loss(s + gain, n) <= sampled_softmax_loss(s, n)).all()


def test_an_untrained_model_is_surprised_by_everything() -> None:
    loss = bpr_loss(torch.zeros(2, 3), torch.zeros(2, 3, NEGATIVES))
    exact(loss, torch.full((2, 3), math.log(2)), 1e-6)
    assert (loss > 0.5).all()


@pytest.mark.parametrize("gap", [-1e4, 1e4])
def test_large_scores_stay_finite_with_their_gradient(gap: float) -> None:
    s = torch.full((1, 1), gap, requires_grad=True)
    n = torch.zeros(1, 1, NEGATIVES)
    for loss in (bpr_loss, sampled_softmax_loss):
        value = loss(s, n)
        (gradient,) = torch.autograd.grad(value.sum(), s)
        assert torch.isfinite(value).all()
        assert float(gradient) == pytest.approx(-1.0 if gap < 0 else 0.0)


def info_nce_by_definition(user: np.ndarray, positive: np.ndarray, negative: np.ndarray, tau: float) -> np.ndarray:
    def similarity(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) / tau)

    loss = np.zeros(user.shape[:2])
    for b, t in np.ndindex(*loss.shape):
        good = similarity(user[b, t], positive[b, t])
        bad = sum(similarity(user[b, t], other) for other in negative[b])
        loss[b, t] = -math.log(good / (good + bad))
    return loss


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_info_nce_is_its_definition(temperature: float) -> None:
    rng = np.random.default_rng(3)
    user, positive = rng.normal(size=(2, 2, 3, 5))
    negative = rng.normal(size=(2, 4, 5))
    expected = info_nce_by_definition(user, positive, negative, temperature)
    exact(info_nce(*tensors(user, positive, negative), temperature), torch.from_numpy(expected), 1e-10)


def test_info_nce_by_hand() -> None:
    user = torch.tensor([[[1.0, 0.0]]])
    aligned, opposite = torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[-2.0, 0.0]]])
    exact(info_nce(user, aligned, opposite, 0.5), torch.tensor([[math.log(1 + math.exp(-4))]]), 1e-6)


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.01, 100))
def test_info_nce_knows_no_lengths(a: float, b: float, c: float) -> None:
    rng = np.random.default_rng(4)
    user, positive = tensors(*rng.normal(size=(2, 2, 3, 5)))
    (negative,) = tensors(rng.normal(size=(2, 4, 5)))
    exact(info_nce(a * user, b * positive, c * negative, 0.1), info_nce(user, positive, negative, 0.1), 1e-9)
