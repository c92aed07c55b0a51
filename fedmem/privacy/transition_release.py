"""The transition memory released once, with noise: sums in which every user counts the same, read through the noise.

A user's pairs, and the items it took, are vectors of length 1 at most. To their sums over all users Gaussian noise is
added once. What follows reads nothing but these noisy sums and public texts, so that it costs no privacy (Dwork and
Roth, 2014, proposition 2.1).

Most pairs are noise. How far one is believed depends on others like it: pairs of items that are about as popular, and
whose texts are about as alike, are a group. Its mean is the sum's prior mean and its variance, less the noise's, the
prior variance: the estimate is empirical Bayes for a normal mean (Efron and Morris, 1973).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fedmem.config import TransitionsConfig
from fedmem.memory.transitions import UNIT, TransitionCounts, greatest
from fedmem.randomness import numpy_generator

Floats = npt.NDArray[np.float32]
Groups = npt.NDArray[np.intp]
Block = tuple[int, int]

POPULARITY_SHARE = 0.1  # of the budget, in squared noise: how often each item was taken
POPULAR = (0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)
ALIKE = (0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9997)
_SAMPLED = 400_000  # pairs, of which the quantiles are taken
_READ_TOGETHER = 2**21  # pairs


def release(
    counts: TransitionCounts, texts: Floats | None, config: TransitionsConfig, multiplier: float, seed: int
) -> TransitionCounts:
    """Add noise to bounded counts, and keep of each row the N pairs of greatest weight, as they are estimated.

    Args:
        counts: sums of what ``TransitionCounts.of`` has bounded.
        texts: public vectors of the items [I + 1, D], rows of zeros where there is none; None without texts.
        config: how rows are weighed and cut.
        multiplier: the noise's standard deviation.
        seed: the run's. The noise is a function of it and of the counts: other counts get other noise.
    """
    noisy = NoisySums(counts, multiplier, seed)
    groups = PairGroups(noisy.popularity, texts, seed)
    return _estimated(noisy, groups, config)


@dataclass(frozen=True, eq=False)
class NoisySums:
    """Sums with noise, which is drawn again, the same, whenever some rows are read.

    Attributes:
        counts: the bounded sums.
        multiplier: the noise's standard deviation, were both sums one vector of length 1 for each user.
        seed: of the run.
    """

    counts: TransitionCounts
    multiplier: float
    seed: int

    @property
    def deviation(self) -> float:
        """Standard deviation of the noise on pairs."""
        return float(self.multiplier / (1 - POPULARITY_SHARE) ** 0.5)

    @cached_property
    def popularity(self) -> npt.NDArray[np.float64]:
        """How much each item was taken, at least one standard deviation of the noise [I + 1]."""
        deviation = float(self.multiplier / POPULARITY_SHARE**0.5)
        taken = self.counts.taken / UNIT + deviation * self._rng("taken").standard_normal(len(self.counts.taken))
        found: npt.NDArray[np.float64] = np.maximum(taken, deviation)
        return found

    def rows(self, block: Block) -> Floats:
        """Read the noisy sums of pairs from some rows on [n, I + 1]; item 0 has nothing."""
        exact = (self.counts.pairs[block[0] : block[1]].toarray() / UNIT).astype(np.float32)
        noise = self._rng("pairs", block[0]).standard_normal(exact.shape, np.float32)
        noisy: Floats = exact + np.float32(self.deviation) * noise
        noisy[:, 0] = 0
        return noisy

    def _rng(self, what: str, first: int = 0) -> np.random.Generator:
        return numpy_generator(self.seed, f"noise on {what} of {self._digest}", first)

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name, array in sorted(self.counts.to_arrays().items()):
            digest.update(name.encode() + array.tobytes())
        return digest.hexdigest()

    def blocks(self) -> Iterator[Block]:
        """Cut the rows into some at a time."""
        size = len(self.counts.taken)
        together = max(1, _READ_TOGETHER // size)
        return ((first, min(first + together, size)) for first in range(1, size, together))


class PairGroups:
    """Which pairs are alike, by the product of both items' popularity and the cosine of their texts.

    Args:
        popularity: of each item [I + 1].
        texts: public vectors [I + 1, D] or None.
        seed: draws the pairs of which the quantiles are taken.
    """

    def __init__(self, popularity: npt.NDArray[np.float64], texts: Floats | None, seed: int) -> None:
        self.popularity = popularity.astype(np.float32)
        self.texts = None if texts is None else unit_rows(texts)
        pairs = numpy_generator(seed, "sampled pairs").integers(1, len(popularity), (2, _SAMPLED))
        self.popular = np.quantile(self.popularity[pairs[0]] * self.popularity[pairs[1]], POPULAR)
        if self.texts is not None:
            alike = np.concatenate([(self.texts[i] * self.texts[j]).sum(1) for i, j in np.array_split(pairs, 50, 1)])
            self.alike = np.quantile(alike[pairs[0] != pairs[1]], ALIKE)
        self.number = (len(POPULAR) + 1) * (len(ALIKE) + 1) + 1

    def of(self, block: Block) -> Groups:
        """Number the groups of all pairs from some rows on [n, I + 1]; an item with itself is in the last."""
        rows = slice(*block)
        groups: Groups = np.digitize(self.popularity[rows, None] * self.popularity[None], self.popular)
        if self.texts is not None:
            groups = groups * (len(ALIKE) + 1) + np.digitize(self.texts[rows] @ self.texts.T, self.alike)
        groups[np.arange(len(groups)), np.arange(*block)] = self.number - 1
        return groups


def unit_rows(vectors: Floats) -> Floats:
    """Scale rows to length 1; those of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit


def _estimated(noisy: NoisySums, groups: PairGroups, config: TransitionsConfig) -> TransitionCounts:
    mean, believed = _priors(noisy, groups)
    divisor = noisy.popularity**config.target_power
    found: list[tuple[npt.NDArray[Any], ...]] = []
    for block in noisy.blocks():
        of = groups.of(block)
        prior, share = mean[of], believed[of]
        estimates = prior + share * (noisy.rows(block) - prior)
        estimates[:, 0] = 0
        for source, row in zip(range(*block), estimates, strict=True):
            kept = greatest(row / divisor, config.neighbours)
            kept = kept[row[kept] > 0]
            found.append((np.full(len(kept), source), kept, np.rint(UNIT * row[kept]).astype(np.int64)))
    sources, targets, counts = (np.concatenate(column) for column in zip(*found, strict=True))
    size = len(noisy.popularity)
    pairs = sparse.coo_array((counts, (sources, targets)), shape=(size, size)).tocsr()
    pairs.eliminate_zeros()
    taken = np.rint(noisy.popularity).astype(np.int64)
    taken[0] = 0
    return TransitionCounts(pairs, taken)


def _priors(noisy: NoisySums, groups: PairGroups) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute each group's mean, at least 0, and the share of a pair's deviation from it that is not noise [G]."""
    number, total, squares = (np.zeros(groups.number) for _ in range(3))
    for block in noisy.blocks():
        of, sums = groups.of(block)[:, 1:].ravel(), noisy.rows(block)[:, 1:].ravel()
        number += np.bincount(of, minlength=groups.number)
        total += np.bincount(of, sums, groups.number)
        squares += np.bincount(of, sums.astype(np.float64) ** 2, groups.number)
    mean = total / np.maximum(number, 1)
    variance = np.maximum(squares / np.maximum(number, 1) - mean**2 - noisy.deviation**2, 0)
    return np.maximum(mean, 0), variance / (variance + noisy.deviation**2)
