"""FederatedAggregator: FedAvg of parameters and prototypes, and the server's optimiser.

Knows clients only by what they sent.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import FederatedConfig, FedMemConfig
from fedmem.federated.messages import ITEM_ROWS, Arrays, ClientUpdate, GatheredPrototypes, UpdateSum
from fedmem.federated.prototype_aggregation import merge_prototypes, reduce_prototypes
from fedmem.memory.prototypes import Prototypes

MutableArrays = dict[str, npt.NDArray[np.floating]]


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

    def average(self, total: UpdateSum) -> MutableArrays:
        """FedAvg: Σ n_c·Δ_c / Σ n_c (McMahan et al., AISTATS 2017).

        With ``row_normalisation`` an item row is divided by the n_c of the clients that touched it instead.
        """
        mean = total.mean_delta()
        if self.federated.row_normalisation and total.row_weight is not None:
            rows = total.delta[ITEM_ROWS] if total.item_rows is None else total.item_rows.dense()
            mean[ITEM_ROWS] = rows / np.maximum(total.row_weight, 1)[:, None].astype(rows.dtype)
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

    def merge_prototypes(
        self, sent: Prototypes | GatheredPrototypes | None, current: Prototypes | None
    ) -> Prototypes | None:
        """Merge this round's uploads into the global abstract memory."""
        return merge_prototypes(sent, current, self.fedmem.prototype_momentum)


def weighted(update: ClientUpdate, config: FedMemConfig) -> UpdateSum:
    """Weight one client's update by its number of samples: the sum over one client."""
    weight = float(update.num_samples)
    touched = np.any(update.delta[ITEM_ROWS] != 0, axis=1) if ITEM_ROWS in update.delta else None
    alone = None if update.prototypes is None else update.prototypes.changed(lambda values: values[None])
    return UpdateSum(
        delta={name: value * value.dtype.type(weight) for name, value in update.delta.items()},
        weight=weight,
        row_weight=None if touched is None else touched * weight,
        prototypes=None if alone is None else reduce_prototypes(alone, np.array([weight]), config),
        metrics=update.metrics,
        upload_bytes=update.num_bytes(),
    )


def _lerp(start: npt.NDArray[np.floating], end: npt.NDArray[np.floating], share: float) -> npt.NDArray[np.floating]:
    """start + share·(end − start)."""
    moved = end - start
    moved *= share
    moved += start
    return moved


def _zeros_like(arrays: Arrays) -> MutableArrays:
    return {name: np.zeros_like(value) for name, value in arrays.items()}
