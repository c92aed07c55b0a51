"""The only two types that cross between client and server.

Nothing else does: server code cannot import client data or a local memory (an import contract checks it).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from fedmem.memory.prototypes import Prototypes

Arrays = Mapping[str, npt.NDArray[np.floating]]


@dataclass(frozen=True, eq=False)
class Broadcast:
    """Server to client: the round's number, the global model and, where it is used, the global abstract memory."""

    round: int
    parameters: Arrays
    global_memory: Prototypes | None = None

    def num_bytes(self) -> dict[str, int]:
        """Size on the wire, in bytes, of weights and prototypes."""
        return {"weights": wire_size(self.parameters), "prototypes": prototype_size(self.global_memory)}


@dataclass(frozen=True, eq=False)
class ClientUpdate:
    """Client to server: the change of the parameters, the prototypes, the number of samples, sums of metrics.

    A simulation may hand the server the weighted sum of several (``CohortSum``) instead, which shows it less.
    """

    num_samples: int
    delta: Arrays = field(default_factory=dict)
    prototypes: Prototypes | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def num_bytes(self) -> dict[str, int]:
        """Size on the wire, in bytes, of weights and prototypes."""
        return {"weights": wire_size(self.delta), "prototypes": prototype_size(self.prototypes)}


def wire_size(arrays: Arrays) -> int:
    """Bytes of the arrays as safetensors, dense: row indices would name the history."""
    return _size_of(tuple((name, value.shape, value.dtype.str) for name, value in sorted(arrays.items())))


@functools.cache
def _size_of(layout: tuple[tuple[str, tuple[int, ...], str], ...]) -> int:
    """The size depends on names, shapes and types alone."""
    return len(save({name: np.zeros(shape, dtype) for name, shape, dtype in layout})) if layout else 0


def prototype_size(prototypes: Prototypes | None) -> int:
    """Bytes of prototypes as safetensors."""
    if prototypes is None:
        return 0
    named = {f"{block}.sum": value for block, value in prototypes.sums.items()}
    return wire_size(named | {f"{block}.count": value for block, value in prototypes.counts.items()})
