"""Fusion: the original's weights as factors on the query's parts, and starts that rank as `weighted` does."""

import pytest
import torch

from fedmem.model.fusion import Fusion, NumpyFusion
from tests.model.builders import DIM, FUSIONS, generator, normal, trained_model, untrained_model


def test_weighted_leaves_the_sequence_score_and_ranks_as_the_original_does() -> None:
    sequence_factor, retriever_factor = Fusion("weighted", DIM, 0.3, 0.7)(normal(2, 3, DIM, seed=0))
    assert sequence_factor == 1.0
    sequence, retriever = normal(2, 50, seed=1)
    ours = sequence_factor * sequence + retriever_factor * retriever
    torch.testing.assert_close(0.3 * ours, 0.3 * sequence + 0.7 * retriever)


@pytest.mark.parametrize("method", ["learned", "adaptive"])
def test_trained_fusions_start_as_weighted(method: str) -> None:
    h = normal(2, 3, DIM, seed=2)
    expected = untrained_model("weighted").fusion(h)
    for factor, start in zip(untrained_model(method).fusion(h), expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(factor), torch.full_like(torch.as_tensor(factor), start))


def test_learned_factors_are_its_scalars() -> None:
    fusion = Fusion("learned", DIM, 0.5, 0.5)
    with torch.no_grad():
        fusion.scalars.copy_(torch.tensor([3.0, -2.0]))
    assert [factor.item() for factor in fusion(normal(1, 1, DIM, seed=0))] == [3.0, -2.0]


def test_adaptive_factors_depend_on_the_state_and_share_a_sum() -> None:
    fusion = trained_model("adaptive").fusion
    a, b = fusion(normal(2, 3, DIM, seed=3))
    assert a.shape == b.shape == (2, 3, 1)
    torch.testing.assert_close(a + b / fusion.ratio, torch.full_like(a, 2.0))
    assert a.unique().numel() == 6


def test_parameters_are_those_of_the_method() -> None:
    names = {
        method: {name for name, _ in Fusion(method, DIM, 0.5, 0.5).named_parameters()}
        for method in ("weighted", "learned", "adaptive")
    }
    assert names == {"weighted": set(), "learned": {"scalars"}, "adaptive": {"gate.weight", "gate.bias"}}


def test_initialising_keeps_the_scalars() -> None:
    model = untrained_model("learned")
    before = model.fusion.scalars.detach().clone()
    model.initialise(generator(9))
    assert torch.equal(model.fusion.scalars, before)


@pytest.mark.parametrize("method", FUSIONS)
def test_the_numpy_twin_gives_the_same_factors(method: str) -> None:
    fusion, h = trained_model(method).float().fusion, normal(DIM, seed=4).float()
    expected = [torch.as_tensor(factor).item() for factor in fusion(h[None, None])]
    assert NumpyFusion(fusion).weights(h.numpy()) == pytest.approx(expected, abs=1e-6)
