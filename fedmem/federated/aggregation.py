"""FederatedAggregator: FedAvg of parameters and prototypes, and the server's optimiser.

Knows clients only by what they sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import FederatedConfig, FedMemConfig
from fedmem.federated.messages import ITEM_ROWS, Arrays, ClientUpdate, GatheredPrototypes, UpdateSum
from fedmem.federated.prototype_aggregation import merge_prototypes, reduce_prototypes
from fedmem.federated.robust_aggregation import Robust, median, norm_clipping, trimmed_mean
from fedmem.federated.server_optimizers import SERVER_OPTIMIZERS, MutableArrays, OptimizerState, lerp
from fedmem.federated.sums import Mean
from fedmem.memory.prototypes import Prototypes

Samples = npt.NDArray[np.integer]


def by_samples(samples: Samples) -> npt.NDArray[np.number]:
    """Weigh a client by its training samples (McMahan et al., AISTATS 2017)."""
    return samples


def unbound(config: FederatedConfig) -> float:
    """Let clients go where their own data lead them."""
    return 0.0


@dataclass(frozen=True)
class Aggregation:
    """An aggregation of clients' changes by the name that configurations have for it.

    Attributes:
        weight: what each client counts for in the mean, by its training samples: [C] -> [C].
        proximal: μ of the term (μ/2)·‖θ − θ_global‖² in every client's objective, from the settings.
        robust: the mean of changes that are gathered, where the server has to see each; None adds them up.
    """

    weight: Callable[[Samples], npt.NDArray[np.number]] = by_samples
    proximal: Callable[[FederatedConfig], float] = unbound
    robust: Robust | None = None


AGGREGATIONS: Mapping[str, Aggregation] = {
    "fedavg": Aggregation(),
    "fedprox": Aggregation(proximal=lambda config: config.fedprox_mu),  # Li et al., MLSys 2020
    "norm_clipping": Aggregation(robust=norm_clipping),
    "trimmed_mean": Aggregation(robust=trimmed_mean),
    "median": Aggregation(robust=median),
}


class FederatedAggregator:
    """Averages what clients sent and applies it to the global model."""

    def __init__(self, federated: FederatedConfig, fedmem: FedMemConfig) -> None:
        self.federated = federated
        self.fedmem = fedmem

    def average(self, total: UpdateSum) -> MutableArrays:
        """Average as FedAvg: Σ w_c·Δ_c / Σ w_c (McMahan et al., AISTATS 2017, with w_c = n_c).

        Robust aggregations count every sender once. With ``row_normalisation`` an item row is divided by the w_c of the
        clients that touched it instead.
        """
        robust = AGGREGATIONS[self.federated.aggregation_method].robust
        if robust and total.changes:
            return robust(total.changes.each, self.federated)
        mean = total.mean_delta()
        if self.federated.row_normalisation and total.row_weight is not None:
            rows = total.delta[ITEM_ROWS] if total.item_rows is None else total.item_rows.dense()
            mean[ITEM_ROWS] = rows / np.maximum(total.row_weight, 1)[:, None].astype(rows.dtype)
        return mean

    def step(
        self, parameters: Arrays, mean_delta: Arrays, state: OptimizerState
    ) -> tuple[MutableArrays, OptimizerState]:
        """Apply the mean update by the configured optimiser, whose rate rises over the first steps."""
        config = self.federated
        rate = config.server_learning_rate * min(1.0, (state.step + 1) / max(config.server_warmup_steps, 1))
        return SERVER_OPTIMIZERS[config.server_optimizer].step(parameters, mean_delta, state, rate, config)

    def moving_average(self, averaged: Arrays, parameters: Arrays, step: int) -> MutableArrays:
        """Average the model over steps (Polyak and Juditsky, 1992); the decay rises to the configured one."""
        decay = min(self.federated.server_averaging, step / (step + 9))
        return {n: lerp(averaged[n], p, 1 - decay) for n, p in parameters.items()}

    def merge_prototypes(
        self, sent: Prototypes | GatheredPrototypes | None, current: Prototypes | None
    ) -> Prototypes | None:
        """Merge this round's uploads into the global abstract memory."""
        return merge_prototypes(sent, current, self.fedmem.prototype_momentum)


def weighted(update: ClientUpdate, federated: FederatedConfig, fedmem: FedMemConfig) -> UpdateSum:
    """Weight one client's update as the aggregation has it: the sum over one client."""
    samples = np.array([update.num_samples])
    weight = float(AGGREGATIONS[federated.aggregation_method].weight(samples)[0])
    normalises = federated.row_normalisation and ITEM_ROWS in update.delta
    touched = np.any(update.delta[ITEM_ROWS] != 0, axis=1) if normalises else None
    alone = None if update.prototypes is None else update.prototypes.changed(lambda values: values[None])
    return UpdateSum(
        delta={name: value * value.dtype.type(weight) for name, value in update.delta.items()},
        weight=weight,
        row_weight=None if touched is None else touched * weight,
        prototypes=None if alone is None else reduce_prototypes(alone, samples, fedmem),
        metrics=update.metrics,
        upload_bytes={part: Mean(float(count), 1.0) for part, count in update.num_bytes().items()},
    )
