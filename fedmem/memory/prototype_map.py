"""Prototypes as a reader sees them: on a 2-D map of the catalogue that stays the same, and by their nearest items."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.memory.prototypes import FloatArray, Prototypes
from fedmem.modality import Modality

Mask = npt.NDArray[np.bool_]
NEAREST = 8


@dataclass(frozen=True, eq=False)
class PrototypeMap:
    """The first two principal components of the catalogue in the prototypes' clustering block.

    Attributes:
        block: the clustering block.
        mean: of the items' vectors [D_block].
        basis: two orthonormal directions [2, D_block], each with its largest component positive.
        points: the items on the map [I, 2], NaN where an item lacks the block.
    """

    block: Modality
    mean: FloatArray
    basis: FloatArray
    points: FloatArray

    @classmethod
    def of(cls, block: Modality, vectors: FloatArray, mask: Mask) -> "PrototypeMap":
        """Make the map of a catalogue: vectors [I, D_block] and which items have one [I]."""
        mean: FloatArray = vectors[mask].mean(0)
        _, _, directions = np.linalg.svd(vectors[mask] - mean, full_matrices=False)
        basis = np.zeros((2, vectors.shape[1]), vectors.dtype)
        for row, direction in enumerate(directions[:2]):  # fewer where there is one item
            basis[row] = direction if direction[np.abs(direction).argmax()] > 0 else -direction
        points = np.where(mask[:, None], (vectors - mean) @ basis.T, np.nan).astype(np.float32)
        return cls(block, mean, basis, points)

    def place(self, vectors: FloatArray) -> FloatArray:
        """Place vectors [n, D_block] on the map [n, 2]."""
        placed: FloatArray = np.asarray((vectors - self.mean) @ self.basis.T, np.float32)
        return placed


def describe(
    prototypes: Prototypes, before: Prototypes | None, on: PrototypeMap, vectors: FloatArray, mask: Mask
) -> list[dict[str, Any]]:
    """Describe each prototype in a JSON object: share of the mass, drift, place on the map, nearest items.

    Args:
        prototypes: the global abstract memory.
        before: that of the last time, or None.
        on: the map.
        vectors: the items in the clustering block [I, D_block].
        mask: which items have it [I].

    Returns:
        ``index``, ``mass`` (share of all), ``drift`` (1 − cosine, or None), ``x``, ``y`` and ``nearest``: up to eight
        ``[item index, cosine]``, best first. A prototype without members has no nearest items.
    """
    centroids = prototypes.centroids(on.block)
    present = prototypes.present(on.block)
    cosine = unit(centroids) @ unit(vectors).T  # [K, I]
    cosine[:, ~mask] = -np.inf
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, : min(NEAREST, int(mask.sum()))]
    moved = None if before is None else 1 - (unit(centroids) * unit(before.centroids(on.block))).sum(1)
    total = float(prototypes.mass.sum())
    return [
        {
            "index": k,
            "mass": float(prototypes.mass[k]) / total if total else 0.0,
            "drift": None if moved is None else float(moved[k]),
            "x": float(x),
            "y": float(y),
            "nearest": [[int(i) + 1, float(cosine[k, i])] for i in nearest[k]] if present[k] else [],
        }
        for k, (x, y) in enumerate(on.place(centroids))
    ]


def unit(vectors: FloatArray) -> FloatArray:
    """Scale vectors [n, D] to length one; zero stays zero."""
    scaled: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled
