"""What is measured of clients' training: after each local step of a chunk, and of its clients after their last.

A metric is a function to sums by name, as the round reports them; each sum carries what it is divided by.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.federated.distributions import CLIENT_LOSS, SURPRISE
from fedmem.federated.sums import Mean, Sum, Total

Sums = Mapping[str, Sum]


@dataclass(frozen=True, eq=False)
class Step:
    """What a local step of C clients has shown.

    Attributes:
        recommendation: each client's Σ L_rec over its chosen tokens, in nats [C].
        contrastive: Σ L_con over the chosen tokens, in nats.
        positions: how many tokens are chosen.
        gates: each expert's gate and the gates' entropy, summed over the chosen tokens.
        surprise: of the chosen tokens, in nats [n], or None where there are no memories.
        written: entries written into memories.
        evicted: entries that had to go for them.
    """

    recommendation: npt.NDArray[np.float64]
    contrastive: float
    positions: float
    gates: Mapping[str, float]
    surprise: npt.NDArray[np.float32] | None = None
    written: int = 0
    evicted: int = 0


def _losses(step: Step) -> Sums:
    return {
        "recommendation_loss": Mean(float(step.recommendation.sum()), step.positions),
        "contrastive_loss": Mean(step.contrastive, step.positions),
    }


def _gates(step: Step) -> Sums:
    return {f"gate_{name}": Mean(total, step.positions) for name, total in step.gates.items()}


def _surprise(step: Step) -> Sums:
    if step.surprise is None:
        return {}
    return {
        "surprise_mean": Mean(float(step.surprise.sum()), step.positions),
        "surprise": SURPRISE.counts(step.surprise),
    }


def _writes(step: Step) -> Sums:
    if step.surprise is None:
        return {}
    return {
        "memory_updates": Total(float(step.written)),
        "memory_evictions": Total(float(step.evicted)),
        "memory_written_fraction": Mean(float(step.written), step.positions),
    }


STEP_METRICS: Sequence[Callable[[Step], Sums]] = (
    _losses,
    _gates,
    _surprise,
    _writes,
)


def step_metrics(step: Step) -> dict[str, Sum]:
    """Measure a step."""
    return {name: found for metric in STEP_METRICS for name, found in metric(step).items()}


def client_metrics(mean_loss: npt.NDArray[np.float64]) -> dict[str, Sum]:
    """Measure clients after their last step, by each one's mean loss over the round, in nats [C]."""
    return {"client_loss": CLIENT_LOSS.counts(mean_loss)}


def memory_metrics(lengths: npt.NDArray[np.int64]) -> dict[str, Sum]:
    """Measure clients' memories after their last step, by the entries of each [C]."""
    return {"memory_occupancy_mean": Mean(float(lengths.sum()), float(len(lengths)))}


def added(first: Sums, second: Sums) -> dict[str, Sum]:
    """Add the sums of two groups of steps or clients, by name; a sum that one group lacks is the other's."""
    return {**first, **{name: first[name] + found if name in first else found for name, found in second.items()}}
