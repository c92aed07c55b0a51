"""FederatedAggregator: FedAvg of parameters, the three aggregations of prototypes, and the server's optimiser.

Knows clients only by what they sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedmem.config import FederatedConfig, FedMemConfig
from fedmem.federated.messages import Arrays, ClientUpdate
from fedmem.memory.prototypes import Prototypes, kmeans

MutableArrays = dict[str, npt.NDArray[np.floating]]

ITEM_ROWS = "sasrec.item_embedding"


@dataclass(frozen=True, eq=False)
class CohortSum:
    """The weighted sum of several clients' ``ClientUpdate``: what a chunk of a round is reduced to.

    Attributes:
        delta: Σ n_c·Δ_c by parameter.
        weight: Σ n_c, in training samples.
        row_weight: Σ n_c over the clients that touched an item row [I + 1], or None.
        prototypes: each client's prototypes with its n_c, or empty.
        metrics: sums of the clients' metrics.
        upload_bytes: size of the clients' updates on the wire, of weights and of prototypes.
        clients: how many clients.
    """

    delta: Arrays
    weight: float
    row_weight: npt.NDArray[np.float64] | None = None
    prototypes: Sequence[tuple[Prototypes, float]] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    upload_bytes: Mapping[str, float] = field(default_factory=dict)
    clients: int = 1

    @classmethod
    def of(cls, update: ClientUpdate) -> "CohortSum":
        """One client's update, weighted by its number of samples."""
        weight = float(update.num_samples)
        touched = np.any(update.delta[ITEM_ROWS] != 0, axis=1) if ITEM_ROWS in update.delta else None
        return cls(
            delta={name: value * value.dtype.type(weight) for name, value in update.delta.items()},
            weight=weight,
            row_weight=None if touched is None else touched * weight,
            prototypes=() if update.prototypes is None else ((update.prototypes, weight),),
            metrics=update.metrics,
            upload_bytes=update.num_bytes(),
        )

    def __add__(self, other: "CohortSum") -> "CohortSum":
        """Both groups of clients; they must not overlap."""
        rows = None
        if self.row_weight is not None and other.row_weight is not None:
            rows = self.row_weight + other.row_weight
        return CohortSum(
            delta={name: self.delta[name] + other.delta[name] for name in self.delta},
            weight=self.weight + other.weight,
            row_weight=rows,
            prototypes=(*self.prototypes, *other.prototypes),
            metrics=_sum_by_name(self.metrics, other.metrics),
            upload_bytes=_sum_by_name(self.upload_bytes, other.upload_bytes),
            clients=self.clients + other.clients,
        )


@dataclass(frozen=True, eq=False)
class OptimizerState:
    """Moments of the server's optimiser by parameter, and the number of steps taken."""

    first: Arrays
    second: Arrays
    step: int = 0

    @classmethod
    def zeros(cls, parameters: Arrays) -> "OptimizerState":
        """Before the first step."""
        return cls(_zeros_like(parameters), _zeros_like(parameters))


class FederatedAggregator:
    """Averages what clients sent and applies it to the global model."""

    def __init__(self, federated: FederatedConfig, fedmem: FedMemConfig) -> None:
        self.federated = federated
        self.fedmem = fedmem

    def average(self, cohort: CohortSum) -> MutableArrays:
        """FedAvg: Σ n_c·Δ_c / Σ n_c (McMahan et al., AISTATS 2017).

        With ``row_normalisation`` an item row is divided by the n_c of the clients that touched it instead.
        """
        mean: MutableArrays = {n: value / value.dtype.type(cohort.weight) for n, value in cohort.delta.items()}
        if self.federated.row_normalisation and cohort.row_weight is not None:
            rows = cohort.delta[ITEM_ROWS]
            mean[ITEM_ROWS] = rows / np.maximum(cohort.row_weight, 1)[:, None].astype(rows.dtype)
        return mean

    def step(
        self, parameters: Arrays, mean_delta: Arrays, state: OptimizerState
    ) -> tuple[MutableArrays, OptimizerState]:
        """Apply the mean update: plain, with momentum (Hsu et al., 2019) or with Adam (Reddi et al., ICLR 2021)."""
        config = self.federated
        step = state.step + 1
        rate = config.server_learning_rate * min(1.0, step / max(config.server_warmup_steps, 1))
        if config.server_optimizer == "adam":
            return self._adam(parameters, mean_delta, state, rate)
        decay = config.server_momentum if config.server_optimizer == "momentum" else 0.0
        first = {n: (decay * state.first[n] + d).astype(d.dtype) for n, d in mean_delta.items()}
        updated = {n: (p + rate * first[n]).astype(p.dtype) for n, p in parameters.items()}
        return updated, OptimizerState(first, state.second, step)

    def moving_average(self, averaged: Arrays, parameters: Arrays, step: int) -> MutableArrays:
        """The averaged model after a step (Polyak and Juditsky, 1992); the decay rises to the configured one."""
        decay = min(self.federated.server_averaging, step / (step + 9))
        return {n: (decay * averaged[n] + (1 - decay) * p).astype(p.dtype) for n, p in parameters.items()}

    def _adam(
        self, parameters: Arrays, mean_delta: Arrays, state: OptimizerState, rate: float
    ) -> tuple[MutableArrays, OptimizerState]:
        b1, b2, epsilon = (
            self.federated.server_beta1,
            self.federated.server_beta2,
            self.federated.server_epsilon,
        )
        step = state.step + 1
        first: MutableArrays = {}
        second: MutableArrays = {}
        updated: MutableArrays = {}
        for name, delta in mean_delta.items():
            first[name] = (b1 * state.first[name] + (1 - b1) * delta).astype(delta.dtype)
            second[name] = (b2 * state.second[name] + (1 - b2) * delta**2).astype(delta.dtype)
            denominator = np.sqrt(second[name] / (1 - b2**step)) + epsilon
            change = rate * (first[name] / (1 - b1**step)) / denominator
            updated[name] = (parameters[name] + change).astype(parameters[name].dtype)
        return updated, OptimizerState(first, second, step)

    def merge_prototypes(self, uploads: Sequence[tuple[Prototypes, float]], current: Prototypes) -> Prototypes:
        """The next global abstract memory: this round's uploads merged, then a moving average of (sum, count)."""
        if not uploads:
            return current
        merge = {"mean": self._mean, "weighted": self._weighted, "recluster": self._recluster}
        merged = merge[self.fedmem.prototype_aggregation](uploads, current)
        kept = self.fedmem.prototype_momentum
        return current.scaled(kept) + merged.scaled(1 - kept)

    def _mean(self, uploads: Sequence[tuple[Prototypes, float]], current: Prototypes) -> Prototypes:
        """Every client that has the index counts once."""
        return _sum([_normalised(p, 1.0) for p, _ in uploads])

    def _weighted(self, uploads: Sequence[tuple[Prototypes, float]], current: Prototypes) -> Prototypes:
        """A client counts by its training samples (as in the original) or by its cluster's size."""
        if self.fedmem.prototype_weights == "counts":
            return _sum([p for p, _ in uploads])
        return _sum([_normalised(p, samples) for p, samples in uploads])

    def _recluster(self, uploads: Sequence[tuple[Prototypes, float]], current: Prototypes) -> Prototypes:
        """Weighted k-means of all uploaded centroids, from the current prototypes."""
        space = current.clustering_block
        together = Prototypes(
            {b: np.concatenate([p.sums[b] for p, _ in uploads]) for b in current.sums},
            {b: np.concatenate([p.counts[b] for p, _ in uploads]) for b in current.counts},
        )
        present = together.mass > 0
        assignment = kmeans(
            together.centroids(space)[present], current.centroids(space), together.counts[space][present]
        )
        members = (assignment == np.arange(len(current.mass))[:, None]).astype(np.float32)  # [K, n]
        return Prototypes(
            {b: members @ s[present] for b, s in together.sums.items()},
            {b: members @ c[present] for b, c in together.counts.items()},
        )


def _sum_by_name(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    return {name: value + second[name] for name, value in first.items()}


def _zeros_like(arrays: Arrays) -> MutableArrays:
    return {name: np.zeros_like(value) for name, value in arrays.items()}


def _normalised(prototypes: Prototypes, weight: float) -> Prototypes:
    """Each non-empty prototype with a mass of ``weight`` instead of its own count."""
    mass = prototypes.mass
    return prototypes.scaled(np.divide(weight, mass, out=np.zeros_like(mass), where=mass > 0))


def _sum(prototypes: Sequence[Prototypes]) -> Prototypes:
    total = prototypes[0]
    for other in prototypes[1:]:
        total = total + other
    return total
