"""The three aggregations of prototypes: what clients' prototypes are reduced to, and how the server merges that."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from fedmem.config import FedMemConfig
from fedmem.federated.messages import GatheredPrototypes
from fedmem.memory.prototypes import Prototypes, kmeans

Reduced = Prototypes | GatheredPrototypes


def reduce_prototypes(clients: Prototypes, samples: npt.NDArray[np.number], config: FedMemConfig) -> Reduced:
    """Reduce C clients' prototypes to what the server needs of them.

    Args:
        clients: the prototypes with a leading dimension [C].
        samples: training samples n_c [C].
        config: how prototypes are aggregated.
    """
    return PROTOTYPE_AGGREGATIONS[config.prototype_aggregation](clients, samples, config)


def mean(clients: Prototypes, samples: npt.NDArray[np.number], config: FedMemConfig) -> Prototypes:
    """Count every client that has the index once."""
    return _sum(_normalised(clients, np.ones_like(samples)))


def weighted(clients: Prototypes, samples: npt.NDArray[np.number], config: FedMemConfig) -> Prototypes:
    """Count a client by its training samples (as in the original) or by its cluster's size."""
    return _sum(_normalised(clients, samples) if config.prototype_weights == "samples" else clients)


def recluster(clients: Prototypes, samples: npt.NDArray[np.number], config: FedMemConfig) -> GatheredPrototypes:
    """Keep all prototypes, which the server clusters again."""
    return GatheredPrototypes(clients.changed(lambda values: values.reshape(-1, *values.shape[2:])))


Reduce = Callable[[Prototypes, npt.NDArray[np.number], FedMemConfig], Reduced]
PROTOTYPE_AGGREGATIONS: Mapping[str, Reduce] = {"mean": mean, "weighted": weighted, "recluster": recluster}


def _sum(clients: Prototypes) -> Prototypes:
    return clients.changed(lambda values: values.sum(0))


def _normalised(clients: Prototypes, weight: npt.NDArray[np.number]) -> Prototypes:
    """Give each client's non-empty prototypes a mass of its weight instead of their own counts."""
    mass = clients.mass  # [C, K]
    factor = np.divide(weight[:, None], mass, out=np.zeros_like(mass), where=mass > 0)
    return clients.scaled(factor)


def merge_prototypes(sent: Reduced | None, current: Prototypes | None, momentum: float) -> Prototypes | None:
    """Merge a round's uploads into the global abstract memory: a moving average of (sum, count).

    Args:
        sent: what the clients' prototypes were reduced to; None leaves the memory as it is.
        current: the global abstract memory, or None where there is none.
        momentum: the share that the current one keeps.
    """
    if current is None or sent is None:
        return current
    merged = _reclustered(sent.all, current) if isinstance(sent, GatheredPrototypes) else sent
    return current.scaled(momentum) + merged.scaled(1 - momentum)


def _reclustered(together: Prototypes, current: Prototypes) -> Prototypes:
    """Cluster all centroids by weighted k-means, from the current prototypes."""
    space = current.clustering_block
    present = together.mass > 0
    assignment = kmeans(together.centroids(space)[present], current.centroids(space), together.counts[space][present])
    members = (assignment == np.arange(len(current.mass))[:, None]).astype(np.float32)  # [K, n]
    return together.changed(lambda values: members @ values[present])
