"""Weights with a budget: each client's update is clipped to a norm, and the sum gets noise before it is applied.

This is DP-FedAvg (McMahan et al., ICLR 2018) with Poisson samples and a fixed denominator: every client counts the
same, one client changes the sum by the clipping norm at most, and the sum is divided by the number of clients that is
expected, because the number that was drawn tells of a client whether it was.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fedmem.config import ExperimentConfig, PrivacyConfig
from fedmem.federated.messages import ITEM_ROWS, Arrays, Broadcast, ClientUpdate, UpdateSum
from fedmem.federated.postprocessing import Postprocessor, Postprocessors
from fedmem.federated.private_metrics import NoisedMetrics
from fedmem.federated.private_prototypes import ClippedPrototypes, NoisedPrototypes
from fedmem.privacy.metrics_budget import MetricsBudget
from fedmem.privacy.rounds_budget import RoundsBudget


class Clipped(Postprocessor):
    """Scales a client's update down to an L2 norm, and lets every client weigh 1."""

    def __init__(self, norm: float) -> None:
        self.norm = norm

    def postprocess_one_client(self, update: ClientUpdate, rng: np.random.Generator) -> ClientUpdate:
        """Clip what one client sends; all parameters are one vector."""
        return replace(update, delta=clipped(update.delta, self.norm), num_samples=1)


class Noised(Postprocessor):
    """Adds Gaussian noise to a sum of clipped updates, and has it divided by the clients that are expected."""

    def __init__(self, deviation: float, expected: float) -> None:
        self.deviation = deviation
        self.expected = expected

    def postprocess_sum(self, total: UpdateSum, rng: np.random.Generator) -> UpdateSum:
        """Noise every parameter; how many clients were drawn is not told either."""
        assert total.item_rows is None, "clients that send apart send whole arrays"
        delta = {name: value + self._noise(name, value, rng) for name, value in sorted(total.delta.items())}
        clients = max(1, round(self.expected))
        return replace(total, delta=delta, weight=self.expected, row_weight=None, clients=clients)

    def _noise(self, name: str, like: npt.NDArray[np.floating], rng: np.random.Generator) -> npt.NDArray[np.floating]:
        noise = (self.deviation * rng.standard_normal(like.shape)).astype(like.dtype)
        if name == ITEM_ROWS:
            noise[0] = 0  # padding, of which no client's loss has a gradient
        return noise


def clipped(arrays: Arrays, norm: float) -> Arrays:
    """Scale all arrays, as one vector, down to an L2 norm."""
    factor = min(1.0, norm / max(length(arrays), 1e-30))
    return {name: value * value.dtype.type(factor) for name, value in arrays.items()}


def length(arrays: Arrays) -> float:
    """Compute the L2 norm of all arrays as one vector."""
    return math.sqrt(sum(float(np.square(value, dtype=np.float64).sum()) for value in arrays.values()))


def protected(config: ExperimentConfig, clients: int, given: Postprocessors) -> Postprocessors:
    """Put clipping behind all that is done to a client's update, and noise before all that is done to a sum."""
    if not config.clips_weights:
        return given
    budget, norm = RoundsBudget.of(config), config.privacy.weights_clip
    deviation = norm * budget.weights.noise if budget else 0.0
    chain = (Noised(deviation, config.federated.client_fraction * clients), *given, Clipped(norm))
    if metrics := MetricsBudget.of(config):
        chain = (*chain, NoisedMetrics(metrics.noise))
    return _with_prototypes(config.privacy, budget, chain) if config.clips_prototypes else chain


def _with_prototypes(config: PrivacyConfig, budget: RoundsBudget | None, chain: Postprocessors) -> Postprocessors:
    """Do the same to prototypes; where the weights get no noise, so that nothing is protected, by the noise given."""
    norm, noise = config.prototypes_clip, config.prototypes_noise or 0.0
    if budget and budget.prototypes:
        noise = budget.prototypes.noise
    return (NoisedPrototypes(norm * noise), *chain, ClippedPrototypes(norm))


def nothing_sent(broadcast: Broadcast) -> UpdateSum:
    """Sum over no client, of a round that drew none: zeros, to which noise is added as to any other."""
    zeros: Mapping[str, npt.NDArray[np.floating]] = {n: np.zeros_like(p) for n, p in broadcast.parameters.items()}
    memory = broadcast.global_memory
    return UpdateSum(zeros, 0.0, prototypes=memory and memory.changed(np.zeros_like), clients=0)
