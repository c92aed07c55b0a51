"""Every loss of the table against its formula, shared item vectors and each client's own giving the same."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmem.modality import Modality
from fedmem.model.item_vectors import ItemTable
from fedmem.model.losses import bpr_loss, sampled_softmax_loss
from fedmem.model.recommendation_losses import LOSSES
from tests.reference.objective import full_softmax_loss

C, P, N, ITEMS, D = 2, 5, 3, 9, 4


@dataclass(frozen=True)
class Drawn:
    targets: Tensor
    chosen: Tensor
    weight: Tensor
    negatives: Tensor


@pytest.fixture
def queries() -> Tensor:
    return torch.randn(C, P, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def matrix() -> Tensor:
    return torch.randn(ITEMS + 1, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.fixture
def positions() -> Drawn:
    generator = torch.Generator().manual_seed(3)
    chosen = torch.tensor([[True, True, False, True, True], [True, False, True, False, False]])
    return Drawn(
        targets=torch.randint(1, ITEMS + 1, (C, P), generator=generator),
        chosen=chosen,
        weight=chosen * torch.rand(C, P, generator=generator, dtype=torch.float64),
        negatives=torch.randint(1, ITEMS + 1, (C, N), generator=generator),
    )


def table(matrix: Tensor) -> ItemTable:
    return ItemTable(None, {Modality.SEQUENTIAL: matrix}, matrix)


def plain(name: str, queries: Tensor, matrix: Tensor, positions: Drawn) -> Tensor:
    """The loss of each position [C, P], from all scores."""
    scores = queries @ matrix.T  # [C, P, I + 1]
    positive = scores.gather(2, positions.targets[..., None])[..., 0]
    negative = scores.gather(2, positions.negatives[:, None].expand(-1, P, -1))
    formulas = {
        "bpr": bpr_loss(positive, negative),
        "sampled_softmax": sampled_softmax_loss(positive, negative),
        "full_softmax": full_softmax_loss(positive, scores[..., 1:]),
    }
    return formulas[name]


@pytest.mark.parametrize("own", [False, True], ids=["shared items", "each client's own"])
@pytest.mark.parametrize("name", LOSSES)
def test_sums_are_those_of_the_formula(name, own, queries, matrix, positions):
    expected = plain(name, queries, matrix, positions)
    vectors = matrix.expand(C, -1, -1) if own else matrix
    total, by_client = LOSSES[name].sums(queries, table(vectors), positions)
    torch.testing.assert_close(total, (expected * positions.weight).sum())
    np.testing.assert_allclose(by_client, (expected * positions.chosen).sum(1).numpy())


def test_only_the_full_softmax_reads_the_whole_catalogue():
    assert [name for name, loss in LOSSES.items() if loss.whole_catalogue] == ["full_softmax"]
