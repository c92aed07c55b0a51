"""Distributions over a cohort as counts by bin: sums, like every metric that clients send, so that no value is named.

Quantiles are read off the counts, to within a bin's width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

QUANTILES = (5, 25, 50, 75, 95)  # per cent


@dataclass(frozen=True)
class Distribution:
    """Bins of one width from 0; the last one takes everything above.

    Attributes:
        name: of what is counted, in nats.
        width: of a bin, in nats.
        bins: how many, the open one included.
    """

    name: str
    width: float
    bins: int

    def counts(self, values: Array) -> dict[str, float]:
        """How many of the values, none negative, lie in each bin, by the bin's name."""
        place = np.fmin(np.asarray(values, np.float64) / self.width, self.bins - 1).astype(np.int64)  # NaN: the last
        return dict(zip(self.names, np.bincount(place.ravel(), minlength=self.bins).astype(float), strict=True))

    @property
    def names(self) -> list[str]:
        """The bins' names among a client's metrics."""
        return [f"{self.name}[{number}]" for number in range(self.bins)]

    def quantiles(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Quantiles of all that was counted, linear within a bin; nothing where nothing was counted."""
        reached = np.cumsum([0.0, *(sums[name] for name in self.names)])
        if not reached[-1]:
            return {}
        edges = self.width * np.arange(self.bins + 1)
        wanted = np.array(QUANTILES) / 100 * reached[-1]
        last = np.maximum.accumulate(np.searchsorted(reached, wanted))  # the bin in which each share is reached
        inside = (wanted - reached[last - 1]) / (reached[last] - reached[last - 1])
        values = edges[last - 1] + inside * self.width
        return {f"{self.name}_p{q:02d}": float(value) for q, value in zip(QUANTILES, values, strict=True)}

    def shares(self, sums: Mapping[str, float], together: int) -> dict[str, float]:
        """The share of all in each ``together`` neighbouring bins, as a histogram to draw."""
        counts = np.array([sums[name] for name in self.names])
        total = counts.sum()
        grouped = np.add.reduceat(counts, np.arange(0, self.bins, together))
        return {f"{self.name}_share_{k:02d}": float(n / total) for k, n in enumerate(grouped)} if total else {}


CLIENT_LOSS = Distribution("client_loss", width=0.1, bins=121)
SURPRISE = Distribution("surprise", width=0.05, bins=81)
SURPRISE_TOGETHER = 5  # bins of a drawn one, which is then of 0.25 nats
