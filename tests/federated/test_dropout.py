"""Dropout masks: a client's own, alone or in a chunk."""

import numpy as np
import torch

from fedmem.federated.dropout import chunk_dropout, dropout_generator
from fedmem.model.sasrec import Dropout

D = 8


def generator(user: int = 0, round_number: int = 0, step: int = 0, seed: int = 1) -> np.random.Generator:
    return dropout_generator(seed, round_number, user, step)


def client_dropout(source: np.random.Generator, tokens: np.ndarray) -> Dropout:
    return chunk_dropout([source], [int(tokens.sum())], torch.from_numpy(tokens))


def test_a_client_has_the_masks_it_has_alone():
    counts = [5, 3]
    tokens = torch.from_numpy(np.arange(5) < np.array(counts)[:, None])
    drop = chunk_dropout([generator(0), generator(1)], counts, tokens)
    together = [drop(torch.ones(2, 5, D), p) for p in (0.2, 0.5)]
    for user, n in enumerate(counts):
        alone = client_dropout(generator(user), np.ones((1, n), bool))
        for mask, p in zip(together, (0.2, 0.5), strict=True):
            assert torch.equal(mask[user, :n], alone(torch.ones(1, n, D), p)[0])


def test_padding_draws_nothing():
    """The same tokens in a wider table: the same masks in the same order."""
    narrow, wide = np.ones((2, 3), bool), np.zeros((2, 6), bool)
    wide[:, :3] = True
    found = [client_dropout(generator(), tokens)(torch.ones(*tokens.shape, D), 0.4) for tokens in (narrow, wide)]
    assert torch.equal(found[0], found[1][:, :3])


def test_the_share_that_is_dropped_and_the_mean_that_stays():
    x = torch.ones(1, 4000, D, dtype=torch.float64)
    dropped = client_dropout(generator(), np.ones((1, 4000), bool))(x, 0.2)
    assert set(dropped.unique().tolist()) == {0.0, 65536 / (65536 - round(0.2 * 65536))}
    error = (0.2 * 0.8 / dropped.numel()) ** 0.5
    assert abs((dropped == 0).double().mean() - 0.2) < 4 * error
    assert abs(dropped.mean() - 1) < 4 * error / 0.8


def test_another_seed_round_client_or_step_draws_others():
    def mask(**place: int) -> bytes:
        drop = client_dropout(generator(**place), np.ones((1, 9), bool))
        return drop(torch.ones(1, 9, D), 0.5).numpy().tobytes()

    masks = [mask(), mask(user=1), mask(round_number=1), mask(step=1), mask(seed=2)]
    assert len(set(masks)) == 5
    assert mask() == masks[0]


def test_without_dropout_nothing_is_touched():
    x = torch.randn(1, 3, D)
    assert client_dropout(generator(), np.ones((1, 3), bool))(x, 0.0) is x
