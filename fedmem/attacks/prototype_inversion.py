"""Prototype inversion: which items a client remembers, from the prototypes that it uploads and the public catalogue."""

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import orthogonal_mp

from fedmem.memory.prototypes import FrozenItemBlocks, Prototypes

Items = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.float64]


def nearest(prototypes: Prototypes, catalogue: FrozenItemBlocks) -> Items:
    """Guess one item for each prototype that has members: that of greatest cosine to its centroid."""
    vectors, known = _vectors(prototypes, catalogue)
    space = prototypes.clustering_block
    centroids = prototypes.centroids(space)[prototypes.present(space)]
    found: Items = known[(_unit(centroids) @ _unit(vectors).T).argmax(1)]
    return found


def matching_pursuit(prototypes: Prototypes, catalogue: FrozenItemBlocks, most: int) -> Items:
    """Guess the members of every prototype: as many items as it counts, whose vectors best make up its sum.

    Orthogonal matching pursuit (Pati, Rezaiifar and Krishnaprasad, 1993) over the vectors of the catalogue. ``most``
    is what a memory holds at most, since masked words may read as any count.
    """
    vectors, known = _vectors(prototypes, catalogue)
    space = prototypes.clustering_block
    norms = np.linalg.norm(vectors, axis=1)
    guessed: list[Items] = []
    for total, count in zip(prototypes.sums[space], prototypes.counts[space], strict=True):
        members = min(round(float(count)), most, vectors.shape[1], len(known))
        if members > 0:
            # Atoms of length 1; the coefficients, which would be the lengths, are of no interest.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # it may be made up of fewer
                found = orthogonal_mp(_unit(vectors).T, total.astype(np.float64), n_nonzero_coefs=members)
            guessed.append(known[(found != 0) & (norms > 0)])
    return np.unique(np.concatenate(guessed)) if guessed else np.zeros(0, np.int64)


def nearest_rate(prototypes: Prototypes, remembered: Items, catalogue: FrozenItemBlocks) -> float:
    """Share of a client's prototypes whose nearest item it remembers."""
    found = nearest(prototypes, catalogue)
    return float(np.isin(found, remembered).mean()) if len(found) else 0.0


def recall(prototypes: Prototypes, remembered: Items, catalogue: FrozenItemBlocks, most: int) -> tuple[float, float]:
    """Share of a client's remembered items that matching pursuit finds; and of as many items drawn at random."""
    return recall_of(remembered, matching_pursuit(prototypes, catalogue, most), catalogue)


def recall_of(remembered: Items, guessed: Items, catalogue: FrozenItemBlocks) -> tuple[float, float]:
    """Share of a client's remembered items that are among the guessed; and of as many items drawn at random."""
    num_items = len(next(iter(catalogue.masks.values()))) - 1
    return float(np.isin(remembered, guessed).mean()), len(guessed) / num_items


def _vectors(prototypes: Prototypes, catalogue: FrozenItemBlocks) -> tuple[FloatArray, Items]:
    """Gather the public vectors of the items that have the clustering block, and which items these are."""
    space = prototypes.clustering_block
    known = catalogue.masks[space].nonzero()[0]
    return catalogue.vectors[space][known].astype(np.float64), known


def _unit(vectors: npt.NDArray[np.floating]) -> FloatArray:
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit
