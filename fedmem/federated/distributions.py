"""Distributions over a cohort as counts by bin: sums, like every metric that clients send, so that no value is named.

Quantiles are read off the counts, to within a bin's width.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

QUANTILES = (5, 25, 50, 75, 95)  # per cent


@dataclass(frozen=True)
class Distribution:
    """Bins of one width from 0; the last one takes everything above.

    Attributes:
        width: of a bin, in nats.
        bins: how many, the open one included.
        together: how many neighbouring bins make a bar of the reported histogram; 0 reports none.
    """

    width: float
    bins: int
    together: int = 0

    def counts(self, values: Array) -> "Counts":
        """Count the values, none negative, by bin."""
        place = np.fmin(np.asarray(values, np.float64) / self.width, self.bins - 1).astype(np.int64)  # NaN: the last
        return Counts(self, np.bincount(place.ravel(), minlength=self.bins).astype(np.float64))


@dataclass(frozen=True, eq=False)
class Counts:
    """How many values lie in each bin of a distribution."""

    NOT_SUMMED: ClassVar = ("distribution",)

    distribution: Distribution
    by_bin: npt.NDArray[np.float64]

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.distribution, self.by_bin + other.by_bin)

    def report(self, name: str) -> dict[str, float]:
        """Report the quantiles and, where they are wanted, the bars of a histogram; nothing of nothing."""
        return (self.quantiles(name) | self.shares(name)) if self.by_bin.sum() else {}

    def quantiles(self, name: str) -> dict[str, float]:
        """Read the quantiles of all that was counted, linear within a bin."""
        width, bins = self.distribution.width, self.distribution.bins
        reached = np.cumsum([0.0, *self.by_bin])
        edges = width * np.arange(bins + 1)
        wanted = np.array(QUANTILES) / 100 * reached[-1]
        last = np.maximum.accumulate(np.searchsorted(reached, wanted))  # the bin in which each share is reached
        inside = (wanted - reached[last - 1]) / (reached[last] - reached[last - 1])
        values = edges[last - 1] + inside * width
        return {f"{name}_p{q:02d}": float(value) for q, value in zip(QUANTILES, values, strict=True)}

    def shares(self, name: str) -> dict[str, float]:
        """Return each bar's share of the histogram's total."""
        if not self.distribution.together:
            return {}
        grouped = np.add.reduceat(self.by_bin, np.arange(0, self.distribution.bins, self.distribution.together))
        return {f"{name}_share_{k:02d}": float(n / self.by_bin.sum()) for k, n in enumerate(grouped)}


CLIENT_LOSS = Distribution(width=0.1, bins=121)
SURPRISE = Distribution(width=0.05, bins=81, together=5)  # bars of 0.25 nats
