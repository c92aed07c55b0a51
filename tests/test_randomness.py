"""Generators are named by purpose and place, and by nothing else."""

import numpy as np
import pytest
import torch

from fedmem.randomness import numpy_generator, torch_generator


def drawn(*name) -> tuple[float, ...]:
    return tuple(numpy_generator(*name).random(4))


def torch_drawn(*name) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=torch_generator(*name)).tolist())


@pytest.mark.parametrize("draw", [drawn, torch_drawn], ids=["numpy", "torch"])
def test_the_same_name_gives_the_same_numbers_and_any_other_gives_others(draw):
    # A purpose always has the same number of places: a trailing 0 is no place of its own (numpy pads with zeros).
    names = [(1, "a"), (2, "a"), (1, "b"), (1, "a", 1), (1, "a", 10), (1, "a", 1, 1), (1, "a", 1, 10), (1, "a", 10, 1)]
    numbers = [draw(*name) for name in names]
    assert numbers == [draw(*name) for name in names]
    assert len(set(numbers)) == len(names)


def test_draws_elsewhere_change_nothing():
    alone = drawn(1, "negatives", 3, 4)
    numpy_generator(1, "negatives", 3, 3).random(100)
    np.random.default_rng(0).random(100)
    torch.manual_seed(5)
    assert drawn(1, "negatives", 3, 4) == alone


def test_the_global_state_of_torch_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    torch_generator(1, "weights")
    assert torch.equal(torch.rand(3), expected)


STORED = [232, 767, 452, 714, 142]


def test_the_stream_is_the_one_that_stored_runs_were_made_with():
    """A change here changes the numbers of every seed: say so in the changelog."""
    assert numpy_generator(42, "cohort", 7).integers(0, 1000, 5).tolist() == STORED
