"""Means of changes that a minority of senders cannot move far, where the server sees each sender's change.

Every sender counts once: a poisoned one could claim any number of samples.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fedmem.config import FederatedConfig
from fedmem.federated.messages import Arrays
from fedmem.federated.private_weights import clipped, length

Values = npt.NDArray[np.floating]
Changes = Sequence[Arrays]
Robust = Callable[[Changes, FederatedConfig], dict[str, Values]]


def norm_clipping(changes: Changes, config: FederatedConfig) -> dict[str, Values]:
    """Average changes that are scaled down to the median of their L2 norms.

    That norms are bounded is from Sun et al. (2019), that a quantile of them is the bound from Andrew et al. (NeurIPS
    2021).
    """
    bound = float(np.median([length(change) for change in changes]))
    return _by_number([clipped(change, bound) for change in changes], lambda values: values.mean(axis=0))


def trimmed_mean(changes: Changes, config: FederatedConfig) -> dict[str, Values]:
    """Average each number without ``trimmed_share`` of the least and of the greatest (Yin et al., ICML 2018)."""
    trimmed = int(config.trimmed_share * len(changes))
    return _by_number(changes, lambda values: np.sort(values, axis=0)[trimmed : len(values) - trimmed].mean(axis=0))


def median(changes: Changes, config: FederatedConfig) -> dict[str, Values]:
    """Take the median of each number (Yin et al., ICML 2018)."""
    return _by_number(changes, lambda values: np.median(values, axis=0).astype(values.dtype))


def _by_number(changes: Changes, reduced: Callable[[Values], Values]) -> dict[str, Values]:
    return {name: reduced(np.stack([change[name] for change in changes])) for name in changes[0]}
