"""Prototypes: k-means over a memory, kept as (sum, count) per index and block, and the global abstract memory.

Index k means the same everywhere, because every client starts its k-means from the prototypes handed down.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.modality import FROZEN, Modality

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prototypes:
    """K prototypes with a block for each modality; those of C clients, if a dimension [C] stands before every shape.

    Attributes:
        sums: per block, the sum of its members' vectors [K, D_block].
        counts: per block, how many members have that block [K] (weights: not always whole numbers).
    """

    sums: Mapping[Modality, FloatArray]
    counts: Mapping[Modality, FloatArray]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> "Prototypes":
        """Read what ``to_arrays`` has named."""
        blocks = [modality for modality in Modality if f"sums/{modality.stored}" in arrays]
        return cls(
            {block: arrays[f"sums/{block.stored}"] for block in blocks},
            {block: arrays[f"counts/{block.stored}"] for block in blocks},
        )

    def to_arrays(self) -> dict[str, FloatArray]:
        """Name the arrays for checkpoints and the database: sums/BLOCK and counts/BLOCK."""
        sums = {f"sums/{block.stored}": values for block, values in self.sums.items()}
        return sums | {f"counts/{block.stored}": values for block, values in self.counts.items()}

    @property
    def blocks(self) -> tuple[Modality, ...]:
        """The blocks present, those of frozen features first."""
        return tuple(block for block in (*FROZEN, Modality.SEQUENTIAL) if block in self.sums)

    @property
    def mass(self) -> FloatArray:
        """Members of each prototype [K]; every member has an id embedding."""
        return self.counts[Modality.SEQUENTIAL]

    @property
    def clustering_block(self) -> Modality:
        """The block in which clusters are made: centred text, or the id embedding where there is no text."""
        return Modality.TEXT if Modality.TEXT in self.sums else Modality.SEQUENTIAL

    def present(self, block: Modality) -> npt.NDArray[np.bool_]:
        """Tell which prototypes have anything in a block [K]."""
        return self.counts[block] > 0

    def centroids(self, block: Modality) -> FloatArray:
        """Compute the mean vectors of a block [K, D_block]; zero where the prototype has no member there."""
        counts = self.counts[block][..., None]
        return np.divide(self.sums[block], counts, out=np.zeros_like(self.sums[block]), where=counts > 0)

    def changed(self, change: Callable[[FloatArray], FloatArray]) -> "Prototypes":
        """Change every array of every block."""
        return Prototypes(
            {block: change(values) for block, values in self.sums.items()},
            {block: change(values) for block, values in self.counts.items()},
        )

    def of_at_least(self, members: int) -> "Prototypes":
        """Empty what has fewer members, block by block."""
        enough = {block: counts >= members for block, counts in self.counts.items()}
        return Prototypes(
            {block: sums * enough[block][..., None] for block, sums in self.sums.items()},
            {block: counts * enough[block] for block, counts in self.counts.items()},
        )

    def of_client(self, client: int) -> "Prototypes":
        """Take one client's prototypes of those of C."""
        return self.changed(lambda values: values[client])

    def scaled(self, factor: float | FloatArray) -> "Prototypes":
        """Keep the centroids and multiply their masses by ``factor`` (a number or [K])."""
        return Prototypes(
            {b: s * np.asarray(factor, s.dtype)[..., None] for b, s in self.sums.items()},
            {b: c * np.asarray(factor, c.dtype) for b, c in self.counts.items()},
        )

    def __add__(self, other: "Prototypes") -> "Prototypes":
        """Add the members of both."""
        return Prototypes(
            {block: self.sums[block] + other.sums[block] for block in self.sums},
            {block: self.counts[block] + other.counts[block] for block in self.counts},
        )


@dataclass(frozen=True, eq=False)
class FrozenItemBlocks:
    """Frozen item vectors by item index, for distilling: per block [I + 1, D_block] and mask [I + 1]."""

    vectors: Mapping[Modality, FloatArray]
    masks: Mapping[Modality, npt.NDArray[np.bool_]]


def assign(vectors: FloatArray, centroids: FloatArray) -> IntArray:
    """Find the nearest centroid by Euclidean distance: [..., n, D], [..., K, D] -> [..., n].

    Ties take the lowest index.
    """
    product = vectors @ (2 * centroids).swapaxes(-1, -2)
    distance: FloatArray = np.square(centroids).sum(-1)[..., None, :] - product  # up to a constant of the vector
    nearest: IntArray = distance.argmin(-1)
    return nearest


def kmeans(
    vectors: FloatArray, start: FloatArray, weights: FloatArray | None = None, max_iterations: int = 20
) -> IntArray:
    """Run Lloyd's algorithm from given centroids: [..., n, D], [K, D] -> assignment [..., n].

    An empty cluster keeps its centroid. Of several memories in one call, one that has come to its fixed point stays
    there while others go on.
    """
    weights = np.ones(vectors.shape[:-1], vectors.dtype) if weights is None else weights
    centroids, assignment = start, assign(vectors, start)
    for _ in range(max_iterations):
        members = _members(assignment, len(start)) * weights[..., None, :]
        mass = members.sum(-1, keepdims=True)
        centroids = np.where(mass > 0, members @ vectors / np.maximum(mass, 1e-12), centroids).astype(vectors.dtype)
        previous, assignment = assignment, assign(vectors, centroids)
        if np.array_equal(previous, assignment):
            break
    return assignment


def _members(assignment: IntArray, k: int) -> npt.NDArray[np.bool_]:
    """Mark the members of each of k clusters: [..., n] -> [..., K, n]."""
    members: npt.NDArray[np.bool_] = assignment[..., None, :] == np.arange(k)[:, None]
    return members


def kmeans_plus_plus(vectors: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Draw k starting centroids [k, D] from [n, D], far from each other (Arthur and Vassilvitskii, SODA 2007)."""
    chosen = [int(rng.integers(len(vectors)))]
    distance = np.square(vectors - vectors[chosen[0]]).sum(1, dtype=np.float64)
    while len(chosen) < k:
        total = distance.sum()
        uniform = np.full(len(vectors), 1 / len(vectors))
        chosen.append(int(rng.choice(len(vectors), p=distance / total if total > 0 else uniform)))
        distance = np.minimum(distance, np.square(vectors - vectors[chosen[-1]]).sum(1, dtype=np.float64))
    return vectors[chosen]


def summarise(
    blocks: Mapping[Modality, FloatArray], masks: Mapping[Modality, npt.NDArray[np.bool_]], assignment: IntArray, k: int
) -> Prototypes:
    """Sum and count n members of k clusters, in the dtype of their vectors.

    Args:
        blocks: the members' vectors [..., n, D_block].
        masks: who has the block [..., n].
        assignment: each member's cluster in 0..k−1 [..., n].
        k: how many clusters.
    """
    of = _members(assignment, k)
    members = {block: (of & masks[block][..., None, :]).astype(v.dtype) for block, v in blocks.items()}
    return Prototypes(
        {block: members[block] @ vectors for block, vectors in blocks.items()},
        {block: members[block].sum(-1) for block in blocks},
    )


def distil(
    blocks: Mapping[Modality, FloatArray], masks: Mapping[Modality, npt.NDArray[np.bool_]], start: Prototypes
) -> Prototypes:
    """Distil a memory by k-means from the prototypes handed down: always K of them, zero counts allowed."""
    space = start.clustering_block
    weights = masks[space].astype(blocks[space].dtype)  # who lacks the block joins a cluster but moves none
    assignment = kmeans(blocks[space], start.centroids(space), weights)
    return summarise(blocks, masks, assignment, len(start.mass))


def distil_chunk(
    items: npt.NDArray[np.integer],
    id_embedding: FloatArray,
    features: FrozenItemBlocks,
    start: Prototypes,
    minimum: int = 1,
) -> Prototypes:
    """Distil C memories into prototypes with a leading dimension [C]; empty slots belong to no cluster.

    Args:
        items: item indices, 0 in an empty slot [C, M].
        id_embedding: id embeddings [C, M, D].
        features: the items' frozen vectors.
        start: the prototypes handed down, the same for all.
        minimum: members of a cluster at least, or it is left empty.
    """
    used = items > 0
    blocks = {block: rows.take(items, axis=0) for block, rows in features.vectors.items()} | {
        Modality.SEQUENTIAL: id_embedding
    }
    present = {block: mask[items] & used for block, mask in features.masks.items()} | {Modality.SEQUENTIAL: used}
    return distil(blocks, present, start).of_at_least(minimum)


def from_catalogue(
    blocks: Mapping[Modality, FloatArray],
    masks: Mapping[Modality, npt.NDArray[np.bool_]],
    k: int,
    rng: np.random.Generator,
) -> Prototypes:
    """Make the server's first prototypes from the public catalogue: k-means++ and Lloyd, one member's mass each."""
    space = Modality.TEXT if Modality.TEXT in blocks else Modality.SEQUENTIAL
    vectors, weights = blocks[space], masks[space].astype(np.float32)
    start = kmeans_plus_plus(vectors[masks[space]], k, rng)
    found = summarise(blocks, masks, kmeans(vectors, start, weights), k)
    return found.scaled(np.divide(1, found.mass, out=np.zeros_like(found.mass), where=found.mass > 0))


def collapse(prototypes: Prototypes) -> float:
    """Measure the mean cosine between different centroids in the clustering block: 1 means that all are one vector."""
    space = prototypes.clustering_block
    vectors = prototypes.centroids(space)[prototypes.present(space)]
    if len(vectors) < 2:
        return 0.0
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    n = len(unit)
    diagonal = np.square(unit).sum()  # n, less the centroids at the origin, which have no direction
    return float((np.square(unit.sum(0)).sum() - diagonal) / (n * (n - 1)))


def spread(prototypes: Prototypes) -> float:
    """Measure the centroids' root mean square distance from their mean, in the clustering block: 0 means one vector.

    In centred text a collapse onto the catalogue's mean shows here and not in the cosine.
    """
    space = prototypes.clustering_block
    vectors = prototypes.centroids(space)[prototypes.present(space)]
    if len(vectors) < 2:
        return 0.0
    return float(np.sqrt(np.square(vectors - vectors.mean(0)).sum(1).mean()))


def drift(before: Prototypes, after: Prototypes) -> float:
    """Measure the mean distance of prototypes from where they were, by their old length, in the clustering block."""
    space = after.clustering_block
    both = before.present(space) & after.present(space)
    if not both.any():
        return 0.0
    old, new = before.centroids(space)[both], after.centroids(space)[both]
    return float(np.mean(np.linalg.norm(new - old, axis=1) / np.maximum(np.linalg.norm(old, axis=1), 1e-12)))
