"""Paired bootstrap: whether one model's advantage over another would be there with other users and other seeds.

Efron & Tibshirani 1993, An introduction to the bootstrap; users and seeds drawn independently as in Owen 2007, The
pigeonhole bootstrap, which errs on the cautious side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedmem.errors import DataError
from fedmem.evaluation.metric_table import MetricTable
from fedmem.evaluation.ranking_metrics import FloatArray

DRAWS = 10_000
LEVEL = 0.95
_TOGETHER = 250  # draws whose weights are held at once


@dataclass(frozen=True)
class Difference:
    """A mean difference over users and seeds, its 95 % interval, and the two-sided p of no difference."""

    mean: float
    low: float
    high: float
    p: float


def paired_differences(first: Sequence[MetricTable], second: Sequence[MetricTable], name: str) -> FloatArray:
    """Return metric(first) − metric(second) by seed and user [S, U]; NaN where a seed did not evaluate a user.

    ``first[s]`` and ``second[s]`` are of the same seed and hold the ranks of the same users; a single table stands for
    every seed of the other side (a baseline has none).
    """
    seeds = max(len(first), len(second))
    pairs = [(first[s % len(first)], second[s % len(second)]) for s in range(seeds)]
    for one, other in pairs:
        if len(one.ranks) == 0 or not np.array_equal(one.users, other.users):
            raise DataError("a paired bootstrap needs the ranks of the same users on both sides, seed by seed")
    users = np.unique(np.concatenate([one.users for one, _ in pairs]))
    found = np.full((seeds, len(users)), np.nan)
    for row, (one, other) in enumerate(pairs):
        found[row, np.searchsorted(users, one.users)] = one.per_user(name) - other.per_user(name)
    return found


def bootstrap(differences: Sequence[FloatArray], rng: np.random.Generator, draws: int = DRAWS) -> list[Difference]:
    """Compute mean, interval and p of each matrix of differences [S, U], all of them over the same S and U.

    A draw takes U users and, independently, S seeds with replacement, and averages what they have evaluated. The
    interval is that of percentiles; p = 2 · min(share of draws ≤ 0, share ≥ 0), counting the data as a draw, at most 1.
    """
    stacked = np.stack(differences)  # [P, S, U]
    known = ~np.isnan(stacked[0])  # [S, U]
    values = np.where(known, stacked, 0.0)
    means = np.concatenate(
        [_resampled(values, known, rng, min(_TOGETHER, left)) for left in range(draws, 0, -_TOGETHER)]
    )
    return [_summary(values[pair].sum() / known.sum(), means[:, pair]) for pair in range(len(values))]


def _resampled(values: FloatArray, known: FloatArray, rng: np.random.Generator, draws: int) -> FloatArray:
    """Return the mean of every pair in every draw [B, P]."""
    _, seeds, users = values.shape
    weights = _weights(rng, draws, users)  # [B, U]
    by_seed = np.einsum("psu,bu->bps", values, weights, optimize=True)
    counts = weights @ known.T  # [B, S]
    drawn = _weights(rng, draws, seeds)  # [B, S]
    found = np.einsum("bs,bs->b", counts, drawn)  # none where only seeds were drawn that lack the drawn users
    totals = np.einsum("bps,bs->bp", by_seed, drawn)[found > 0]
    means: FloatArray = totals / found[found > 0, None]
    return means


def _weights(rng: np.random.Generator, draws: int, count: int) -> FloatArray:
    """Count how often each of ``count`` is among as many drawn with replacement [B, count]."""
    drawn = rng.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count).astype(np.float64)


def _summary(mean: float, means: FloatArray) -> Difference:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    tail = min((means <= 0).sum(), (means >= 0).sum()) + 1
    return Difference(float(mean), float(low), float(high), min(1.0, 2.0 * float(tail) / (len(means) + 1)))
