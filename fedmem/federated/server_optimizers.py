"""The server's optimisers: what becomes of the parameters when the clients' mean update is their gradient."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.config import FederatedConfig
from fedmem.federated.messages import Arrays

MutableArrays = dict[str, npt.NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class OptimizerState:
    """Moments of the server's optimiser by parameter, and the number of steps taken."""

    first: Arrays
    second: Arrays
    step: int = 0

    @classmethod
    def zeros(cls, parameters: Arrays) -> "OptimizerState":
        """Start before the first step."""
        return cls(_zeros_like(parameters), _zeros_like(parameters))


Stepped = tuple[MutableArrays, OptimizerState]
Step = Callable[[Arrays, Arrays, OptimizerState, float, FederatedConfig], Stepped]


@dataclass(frozen=True)
class ServerOptimizer:
    """An optimiser by the name that configurations have for it.

    Attributes:
        step: from the parameters, the mean update, the state before the step, the step's rate and the settings to the
            parameters and the state after it.
        rescales: whether a step's size does not depend on the update's, which asks for a small rate.
    """

    step: Step
    rescales: bool = False


def plain(parameters: Arrays, update: Arrays, state: OptimizerState, rate: float, config: FederatedConfig) -> Stepped:
    """Step to θ + η·Δ."""
    return _along(parameters, update, state, rate, 0.0)


def momentum(
    parameters: Arrays, update: Arrays, state: OptimizerState, rate: float, config: FederatedConfig
) -> Stepped:
    """Step to θ + η·m, m ← βm + Δ (Hsu et al., 2019)."""
    return _along(parameters, update, state, rate, config.server_momentum)


def _along(parameters: Arrays, update: Arrays, state: OptimizerState, rate: float, decay: float) -> Stepped:
    first = {n: decay * state.first[n] + d for n, d in update.items()}
    updated: MutableArrays = {n: p + rate * first[n] for n, p in parameters.items()}
    return updated, OptimizerState(first, state.second, state.step + 1)


def adam(parameters: Arrays, update: Arrays, state: OptimizerState, rate: float, config: FederatedConfig) -> Stepped:
    """Step to θ + η·m̂ / (√v̂ + ε) with Adam's moments of Δ (Reddi et al., ICLR 2021)."""
    b1, b2 = config.server_beta1, config.server_beta2
    step = state.step + 1
    first = {n: lerp(state.first[n], d, 1 - b1) for n, d in update.items()}
    second = {n: lerp(state.second[n], np.square(d), 1 - b2) for n, d in update.items()}
    updated: MutableArrays = {}
    for name, parameter in parameters.items():
        change = np.sqrt(second[name])  # in place from here on: these are the largest arrays there are
        change *= 1 / np.sqrt(1 - b2**step)
        change += config.server_epsilon
        np.divide(first[name], change, out=change)
        change *= rate / (1 - b1**step)
        change += parameter
        updated[name] = change
    return updated, OptimizerState(first, second, step)


SERVER_OPTIMIZERS: Mapping[str, ServerOptimizer] = {
    "none": ServerOptimizer(plain),
    "momentum": ServerOptimizer(momentum),
    "adam": ServerOptimizer(adam, rescales=True),
}


def lerp(start: npt.NDArray[np.floating], end: npt.NDArray[np.floating], share: float) -> npt.NDArray[np.floating]:
    """Compute start + share·(end − start)."""
    moved = end - start
    moved *= share
    moved += start
    return moved


def _zeros_like(arrays: Arrays) -> MutableArrays:
    return {name: np.zeros_like(value) for name, value in arrays.items()}
