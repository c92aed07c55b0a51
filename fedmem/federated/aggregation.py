"""FederatedAggregator: FedAvg of parameters, the three aggregations of prototypes, and the server's optimiser.

Knows clients only by what they sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.config import FederatedConfig, FedMemConfig
from fedmem.federated.messages import Arrays, ClientUpdate
from fedmem.memory.prototypes import FloatArray, Prototypes, kmeans

MutableArrays = dict[str, npt.NDArray[np.floating]]

ITEM_ROWS = "sasrec.item_embedding"


@dataclass(frozen=True, eq=False)
class RowSum:
    """Sums of some rows of the item embeddings, where clients touched few of many.

    Attributes:
        rows: ascending item indices [n].
        values: the sums [n, D].
        num_rows: I + 1.
    """

    rows: npt.NDArray[np.int64]
    values: npt.NDArray[np.floating]
    num_rows: int

    def __add__(self, other: "RowSum") -> "RowSum":
        rows = np.union1d(self.rows, other.rows)
        total = np.zeros((len(rows), self.values.shape[1]), self.values.dtype)
        total[np.searchsorted(rows, self.rows)] = self.values
        total[np.searchsorted(rows, other.rows)] += other.values
        return RowSum(rows, total, self.num_rows)

    def dense(self) -> npt.NDArray[np.floating]:
        """All rows [I + 1, D]."""
        table = np.zeros((self.num_rows, self.values.shape[1]), self.values.dtype)
        table[self.rows] = self.values
        return table


@dataclass(frozen=True, eq=False)
class CohortSum:
    """The weighted sum of several clients' ``ClientUpdate``: what a chunk of a round is reduced to.

    Attributes:
        delta: Σ n_c·Δ_c by parameter.
        weight: Σ n_c, in training samples.
        item_rows: the item embeddings' part of the sum, if it is not among ``delta``.
        row_weight: Σ n_c over the clients that touched an item row [I + 1], or None.
        prototypes: the clients' prototypes as ``reduce_prototypes`` leaves them, or None.
        metrics: sums of the clients' metrics.
        upload_bytes: size of the clients' updates on the wire, of weights and of prototypes.
        clients: how many clients.
    """

    delta: Arrays
    weight: float
    item_rows: RowSum | None = None
    row_weight: npt.NDArray[np.float64] | None = None
    prototypes: "Prototypes | GatheredPrototypes | None" = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    upload_bytes: Mapping[str, float] = field(default_factory=dict)
    clients: int = 1

    @classmethod
    def of(cls, update: ClientUpdate, config: FedMemConfig) -> "CohortSum":
        """One client's update, weighted by its number of samples."""
        weight = float(update.num_samples)
        touched = np.any(update.delta[ITEM_ROWS] != 0, axis=1) if ITEM_ROWS in update.delta else None
        sent = update.prototypes
        return cls(
            delta={name: value * value.dtype.type(weight) for name, value in update.delta.items()},
            weight=weight,
            row_weight=None if touched is None else touched * weight,
            prototypes=None if sent is None else reduce_prototypes(_of_one_client(sent), np.array([weight]), config),
            metrics=update.metrics,
            upload_bytes=update.num_bytes(),
        )

    def __add__(self, other: "CohortSum") -> "CohortSum":
        """Both groups of clients; they must not overlap."""
        return CohortSum(
            delta={name: self.delta[name] + other.delta[name] for name in self.delta},
            weight=self.weight + other.weight,
            item_rows=_sum_if_any(self.item_rows, other.item_rows),
            row_weight=_sum_if_any(self.row_weight, other.row_weight),
            prototypes=_sum_if_any(self.prototypes, other.prototypes),
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
        rows = cohort.delta.get(ITEM_ROWS) if cohort.item_rows is None else cohort.item_rows.dense()
        if rows is not None:
            weight: Any = cohort.weight
            if self.federated.row_normalisation and cohort.row_weight is not None:
                weight = np.maximum(cohort.row_weight, 1)[:, None]
            mean[ITEM_ROWS] = rows / np.asarray(weight, rows.dtype)
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
        first = {n: decay * state.first[n] + d for n, d in mean_delta.items()}
        updated: MutableArrays = {n: p + rate * first[n] for n, p in parameters.items()}
        return updated, OptimizerState(first, state.second, step)

    def moving_average(self, averaged: Arrays, parameters: Arrays, step: int) -> MutableArrays:
        """The averaged model after a step (Polyak and Juditsky, 1992); the decay rises to the configured one."""
        decay = min(self.federated.server_averaging, step / (step + 9))
        return {n: _lerp(averaged[n], p, 1 - decay) for n, p in parameters.items()}

    def _adam(
        self, parameters: Arrays, mean_delta: Arrays, state: OptimizerState, rate: float
    ) -> tuple[MutableArrays, OptimizerState]:
        b1, b2 = self.federated.server_beta1, self.federated.server_beta2
        step = state.step + 1
        first = {n: _lerp(state.first[n], delta, 1 - b1) for n, delta in mean_delta.items()}
        second = {n: _lerp(state.second[n], np.square(delta), 1 - b2) for n, delta in mean_delta.items()}
        updated: MutableArrays = {}
        for name, parameter in parameters.items():
            change = np.sqrt(second[name])  # in place from here on: these are the largest arrays there are
            change *= 1 / np.sqrt(1 - b2**step)
            change += self.federated.server_epsilon
            np.divide(first[name], change, out=change)
            change *= rate / (1 - b1**step)
            change += parameter
            updated[name] = change
        return updated, OptimizerState(first, second, step)

    def merge_prototypes(self, uploads: "Prototypes | GatheredPrototypes", current: Prototypes) -> Prototypes:
        """The next global abstract memory: this round's uploads merged, then a moving average of (sum, count)."""
        merged = uploads.reclustered(current) if isinstance(uploads, GatheredPrototypes) else uploads
        kept = self.fedmem.prototype_momentum
        return current.scaled(kept) + merged.scaled(1 - kept)


@dataclass(frozen=True, eq=False)
class GatheredPrototypes:
    """All prototypes of several clients under each other [n·K, ..], as ``recluster`` needs them."""

    all: Prototypes

    def __add__(self, other: "GatheredPrototypes") -> "GatheredPrototypes":
        return GatheredPrototypes(
            Prototypes(
                {b: np.concatenate([s, other.all.sums[b]]) for b, s in self.all.sums.items()},
                {b: np.concatenate([c, other.all.counts[b]]) for b, c in self.all.counts.items()},
            )
        )

    def reclustered(self, current: Prototypes) -> Prototypes:
        """Weighted k-means of all centroids, from the current prototypes."""
        space, together = current.clustering_block, self.all
        present = together.mass > 0
        assignment = kmeans(
            together.centroids(space)[present], current.centroids(space), together.counts[space][present]
        )
        members = (assignment == np.arange(len(current.mass))[:, None]).astype(np.float32)  # [K, n]
        return Prototypes(
            {b: members @ s[present] for b, s in together.sums.items()},
            {b: members @ c[present] for b, c in together.counts.items()},
        )


def reduce_prototypes(
    clients: Prototypes, samples: npt.NDArray[np.number], config: FedMemConfig
) -> Prototypes | GatheredPrototypes:
    """What the server needs of C clients' prototypes.

    ``mean``: every client that has the index counts once. ``weighted``: a client counts by its training samples (as in
    the original) or by its cluster's size. ``recluster``: all of them.

    Args:
        clients: the prototypes with a leading dimension [C].
        samples: training samples n_c [C].
        config: how prototypes are aggregated.
    """
    if config.prototype_aggregation == "recluster":
        return GatheredPrototypes(_map(clients, lambda values: values.reshape(-1, *values.shape[2:])))
    if config.prototype_aggregation == "mean":
        clients = _normalised(clients, np.ones_like(samples))
    elif config.prototype_weights == "samples":
        clients = _normalised(clients, samples)
    return _map(clients, lambda values: values.sum(0))


def _normalised(clients: Prototypes, weight: npt.NDArray[np.number]) -> Prototypes:
    """Each client's non-empty prototypes with a mass of its weight instead of their own counts."""
    mass = clients.mass  # [C, K]
    factor = np.divide(weight[:, None], mass, out=np.zeros_like(mass), where=mass > 0)
    return clients.scaled(factor)


def _of_one_client(prototypes: Prototypes) -> Prototypes:
    return _map(prototypes, lambda values: values[None])


def _map(prototypes: Prototypes, change: Callable[[FloatArray], FloatArray]) -> Prototypes:
    return Prototypes(
        {block: change(values) for block, values in prototypes.sums.items()},
        {block: change(values) for block, values in prototypes.counts.items()},
    )


def _lerp(start: npt.NDArray[np.floating], end: npt.NDArray[np.floating], share: float) -> npt.NDArray[np.floating]:
    """start + share·(end − start)."""
    moved = end - start
    moved *= share
    moved += start
    return moved


def _sum_if_any(first: Any, second: Any) -> Any:
    return None if first is None or second is None else first + second


def _sum_by_name(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    return {name: value + second[name] for name, value in first.items()}


def _zeros_like(arrays: Arrays) -> MutableArrays:
    return {name: np.zeros_like(value) for name, value in arrays.items()}
