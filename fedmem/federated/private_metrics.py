"""Metrics with a budget: what clients measure while they train stays with them, and sums of evaluations get noise."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fedmem.evaluation.metric_table import MetricSums, Moments
from fedmem.federated.messages import ClientUpdate
from fedmem.federated.postprocessing import Postprocessor


class NoisedMetrics(Postprocessor):
    """Adds Gaussian noise to each sum of an evaluation; how many users evaluate is public."""

    def __init__(self, deviation: float) -> None:
        self.deviation = deviation

    def postprocess_one_client(self, update: ClientUpdate, rng: np.random.Generator) -> ClientUpdate:
        """Send nothing that was measured in training."""
        return replace(update, metrics={})

    def postprocess_metrics(self, total: MetricSums, rng: np.random.Generator) -> MetricSums:
        """Noise all sums, with the transition memory and without."""
        moments = self._noised(total.moments, rng)
        fused = {strength: self.postprocess_metrics(sums, rng) for strength, sums in sorted(total.fused.items())}
        return MetricSums(moments, fused)

    def _noised(self, moments: Mapping[str, Moments], rng: np.random.Generator) -> dict[str, Moments]:
        return {name: self._read(moments[name], rng) for name in sorted(moments)}

    def _read(self, exact: Moments, rng: np.random.Generator) -> Moments:
        """Read a noisy sum of numbers between 0 and 1.

        Their squares are no more than they are, and with what the noise adds the standard error is an upper bound.
        """
        count, noisy = exact.count, exact.total + self.deviation * float(rng.standard_normal())
        total = min(max(noisy, 0.0), float(count))
        return Moments(total, total + self.deviation**2 * max(count - 1, 0) / max(count, 1), count)
