"""What an entry of the memory is worth keeping."""

import numpy as np
import numpy.typing as npt

from fedmem.config import FedMemConfig


def utility(
    age: npt.ArrayLike,
    frequency: npt.ArrayLike,
    *,
    recency_weight: float = 0.6,
    frequency_weight: float = 0.4,
    decay_time: float = 50.0,
) -> npt.NDArray[np.float64]:
    """Compute α·exp(−Δt/τ) + β·log(1 + f)/log(1 + f + 10), by entry.

    Args:
        age: Δt ≥ 0, the client's last history index minus the entry's, in interactions.
        frequency: f ≥ 1, how often the entry was written.
        recency_weight: α.
        frequency_weight: β.
        decay_time: τ, an e-folding time in interactions.
    """
    age, frequency = np.asarray(age, np.float64), np.asarray(frequency, np.float64)
    recency = np.exp(-age / decay_time)
    worth: npt.NDArray[np.float64] = recency_weight * recency + frequency_weight * np.log1p(frequency) / np.log(
        frequency + 11
    )
    return worth


def utility_by(config: FedMemConfig, age: npt.ArrayLike, frequency: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute the utility with the configured weights and decay."""
    return utility(
        age,
        frequency,
        recency_weight=config.recency_weight,
        frequency_weight=config.frequency_weight,
        decay_time=config.decay_time,
    )
