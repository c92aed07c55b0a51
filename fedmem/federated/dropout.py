"""Dropout masks from (seed, round, client, step): a client's own, however many are trained with it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.model.sasrec import Dropout
from fedmem.randomness import numpy_generator

_LEVELS = 2**16  # probabilities are rounded to 1/65536: two random bytes decide a component


def chunk_dropout(generators: Sequence[np.random.Generator], counts: Sequence[int], tokens: Tensor) -> Dropout:
    """Draw each client's masks for its ``counts`` tokens, in the order in which ``tokens`` [C, P] marks them.

    They are drawn on the CPU wherever the model lives, so that they are the same.
    """
    place = torch.where(tokens.flatten(), tokens.flatten().cumsum(0) - 1, sum(counts))  # of each token among all [C·P]

    def drop(x: Tensor, probability: float) -> Tensor:
        if probability == 0:
            return x
        threshold = round(probability * _LEVELS)
        size = x.shape[-1]
        drawn = [_keep(g, n * size, threshold) for g, n in zip(generators, counts, strict=True)]
        at_padding = np.zeros(size, bool)
        # A byte each on the way to where they are needed as numbers.
        keep = torch.from_numpy(np.concatenate([*drawn, at_padding])).to(x.device).to(x.dtype).view(-1, size)
        mask = (keep * (_LEVELS / (_LEVELS - threshold))).index_select(0, place)
        return x * mask.view_as(x)

    return drop


def _keep(generator: np.random.Generator, n: int, threshold: int) -> npt.NDArray[np.bool_]:
    keep: npt.NDArray[np.bool_] = np.frombuffer(generator.bytes(2 * n), "<u2") >= threshold
    return keep


def dropout_generator(seed: int, round_number: int, user: int, step: int) -> np.random.Generator:
    """Make the source of a local step's masks."""
    return numpy_generator(seed, "dropout", round_number, user, step)
