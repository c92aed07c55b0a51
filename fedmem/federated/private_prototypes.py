"""Prototypes with a budget: sums and counts of each client are clipped as one vector, and their sum gets noise.

Sums are taken against the centroids that were handed down: all clients cluster from those, so index k means the same
for all, and where a prototype is more noise than news it stays as it was.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from fedmem.federated.messages import Broadcast, ClientUpdate, UpdateSum
from fedmem.federated.postprocessing import Postprocessor
from fedmem.memory.prototypes import Prototypes
from fedmem.modality import Modality

Floats = npt.NDArray[np.float32]

BELIEVED = 2.0  # standard deviations of its noise that a count has to exceed


@dataclass(frozen=True, eq=False)
class Start:
    """The prototypes handed down, against which sums are taken; clients and server have them alike.

    Attributes:
        centroids: by block [K, D_block].
        scales: by block the root mean square of their lengths, by which a sum is divided before it is clipped.
    """

    centroids: Mapping[Modality, Floats]
    scales: Mapping[Modality, float]

    @classmethod
    def of(cls, prototypes: Prototypes) -> "Start":
        """Take the centroids of prototypes."""
        centroids = {block: prototypes.centroids(block) for block in prototypes.blocks}
        squares = {block: float(np.square(c, dtype=np.float64).sum(-1).mean()) for block, c in centroids.items()}
        return cls(centroids, {block: max(square**0.5, 1e-6) for block, square in squares.items()})

    def moved(self, prototypes: Prototypes, block: Modality) -> Floats:
        """Compute how far members lie from the centroids, in sum and by the scale [K, D_block]."""
        away = prototypes.sums[block] - prototypes.counts[block][:, None] * self.centroids[block]
        moved: Floats = (away / self.scales[block]).astype(away.dtype)
        return moved

    def sums(self, moved: Floats, counts: Floats, block: Modality) -> Floats:
        """Compute the sums that so many members at such a distance have: the inverse of ``moved``."""
        return moved * np.float32(self.scales[block]) + counts[:, None] * self.centroids[block]


@dataclass(frozen=True, eq=False)
class _AgainstStart(Postprocessor):
    """Knows what was handed down in the round, once it has begun."""

    start: Start | None = field(default=None, kw_only=True)

    def of_round(self, broadcast: Broadcast) -> Self:
        """Take sums against what is handed down."""
        assert broadcast.global_memory is not None, "prototypes are used"
        return replace(self, start=Start.of(broadcast.global_memory))

    @property
    def begun(self) -> Start:
        """What was handed down."""
        assert self.start is not None, "a round has begun"
        return self.start


@dataclass(frozen=True, eq=False)
class ClippedPrototypes(_AgainstStart):
    """Scales a client's prototypes down to an L2 norm of all its sums and counts as one vector."""

    norm: float

    def postprocess_one_client(self, update: ClientUpdate, rng: np.random.Generator) -> ClientUpdate:
        """Clip what one client sends; its centroids stay."""
        if update.prototypes is None:
            return update
        factor = min(1.0, self.norm / max(length(update.prototypes, self.begun), 1e-30))
        return replace(update, prototypes=update.prototypes.scaled(factor))


@dataclass(frozen=True, eq=False)
class NoisedPrototypes(_AgainstStart):
    """Adds Gaussian noise to the sum of clipped prototypes, and reads it through the noise."""

    deviation: float

    def postprocess_sum(self, total: UpdateSum, rng: np.random.Generator) -> UpdateSum:
        """Noise every number of every block."""
        if total.prototypes is None:
            return total
        assert isinstance(total.prototypes, Prototypes), "those that are clustered anew have no budget"
        sums, counts = {}, {}
        for block in total.prototypes.blocks:
            sums[block], counts[block] = self._read(total.prototypes, block, rng)
        return replace(total, prototypes=Prototypes(sums, counts))

    def _read(self, exact: Prototypes, block: Modality, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Read a block's noisy sums and counts; a prototype whose count is hardly more than noise has none."""
        counts = exact.counts[block] + self._noise(exact.counts[block], rng)
        moved = self.begun.moved(exact, block)
        moved = shrunk(moved + self._noise(moved, rng), self.deviation)
        believed = counts > BELIEVED * self.deviation
        return self.begun.sums(moved, counts, block) * believed[:, None], counts * believed

    def _noise(self, like: Floats, rng: np.random.Generator) -> Floats:
        drawn: Floats = (self.deviation * rng.standard_normal(like.shape)).astype(like.dtype)
        return drawn


def length(prototypes: Prototypes, start: Start) -> float:
    """Compute the L2 norm of all sums and counts as one vector, as it is clipped."""
    parts = [start.moved(prototypes, block) for block in prototypes.blocks]
    parts += prototypes.counts.values()
    return math.sqrt(sum(float(np.square(part, dtype=np.float64).sum()) for part in parts))


def shrunk(vectors: Floats, deviation: float) -> Floats:
    """Shrink noisy vectors [K, D] towards zero, by (1 − E·σ²/‖x‖²)₊ (James and Stein, 1961).

    E is what the square of pure noise hardly exceeds, D and two of its standard deviations, where theirs is D − 2: they
    would believe half of all noise a little.
    """
    dim = vectors.shape[-1]
    squares = np.square(vectors, dtype=np.float64).sum(-1, keepdims=True)
    believed = np.maximum(0, 1 - (dim + 2 * math.sqrt(2 * dim)) * deviation**2 / np.maximum(squares, 1e-30))
    found: Floats = vectors * believed.astype(vectors.dtype)
    return found
