"""The transitions of many clients in a fixed number of cells: a count sketch (Charikar, Chen and Farach-Colton, 2002).

Every pair (i, j) has one cell in each of d rows of w cells, and a sign there, by hash functions that all clients share.
A client adds sign · c(i, j) to these cells, and hands on cells alone. Sums of sketches are the sketches of sums, to the
last unit, so that a secure sum of d · w numbers says what all clients together counted, and a client is subtracted
exactly. The median over the rows of sign · cell estimates c(i, j); its error is seldom above a few times ‖c‖₂ / √w.

``TransitionCounts`` holds cells as it holds pairs; the server has no other, and makes of them the rows that are read.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fedmem.config import TransitionsConfig
from fedmem.errors import CheckpointError, ConfigError
from fedmem.memory.transitions import TransitionCounts, TransitionTable, greatest
from fedmem.randomness import numpy_generator

IntArray = npt.NDArray[np.integer[Any]]
LongArray = npt.NDArray[np.int64]
MOST_ITEMS = 20_000  # whose pairs are looked up in a minute
_DECODED_TOGETHER = 2**20  # pairs


@dataclass(frozen=True, eq=False)
class PairHashes:
    """Cells and signs of pairs: (a·i + b·j + c) mod 2⁶⁴, of which the upper bits are pairwise independent.

    Attributes:
        factors: a, b and c of each row [d, 3].
        bits: log₂ w.
    """

    factors: npt.NDArray[np.uint64]
    bits: int

    @classmethod
    def drawn(cls, rows: int, bits: int, seed: int = 0) -> "PairHashes":
        """Draw those of d rows of 2^bits cells; all who share a seed have the same, and they are no secret."""
        rng = numpy_generator(seed, "count sketch")
        return cls(rng.integers(0, 2**64, (rows, 3), np.uint64), bits)

    def of(self, row: int, sources: IntArray, targets: IntArray) -> tuple[LongArray, LongArray]:
        """Hash pairs (arrays that broadcast): their cells in a row, and their signs, 1 or -1."""
        a, b, c = self.factors[row]
        hashed = a * sources.astype(np.uint64) + b * targets.astype(np.uint64) + c
        upper = (hashed >> np.uint64(63 - self.bits)).astype(np.int64)
        return upper >> 1, 2 * (upper & 1) - 1

    def cells(self, counts: TransitionCounts) -> sparse.csr_array:
        """Add up what falls into each cell [d, w]."""
        pairs = counts.pairs.tocoo()
        found = [self.of(row, pairs.row, pairs.col) for row in range(len(self.factors))]
        place = np.concatenate([cell for cell, _ in found])
        row = np.repeat(np.arange(len(found)), len(pairs.data))
        added = np.concatenate([sign * pairs.data for _, sign in found])
        cells = sparse.coo_array((added, (row, place)), shape=(len(found), 2**self.bits)).tocsr()
        cells.eliminate_zeros()
        return cells


@dataclass(frozen=True, eq=False)
class TransitionSketch:
    """A sum over clients of what followed what, in cells.

    Attributes:
        cells: Σ sign · c(i, j) of the pairs of a cell, in units of 1/2520 [d, w].
        taken: how often each item was taken, exactly [I + 1].
        hashes: where a pair is.
    """

    cells: LongArray
    taken: LongArray
    hashes: PairHashes

    @classmethod
    def of(cls, counts: TransitionCounts, hashes: PairHashes) -> "TransitionSketch":
        """Sketch counts of pairs."""
        return cls(hashes.cells(counts).toarray(), counts.taken, hashes)

    @classmethod
    def read(cls, counts: TransitionCounts) -> "TransitionSketch":
        """Read cells that clients have handed on; how many there are says where they hold what."""
        return cls(counts.pairs.toarray(), counts.taken, _hashes(counts.pairs.shape))

    def estimates(self, sources: IntArray, targets: IntArray) -> npt.NDArray[np.float64]:
        """Estimate c(i, j) of pairs (arrays that broadcast)."""
        found = []
        for row, cells in enumerate(self.cells):
            place, sign = self.hashes.of(row, sources, targets)
            found.append(sign * cells[place])
        estimated: npt.NDArray[np.float64] = np.median(np.stack(found), axis=0)
        return estimated

    def decoded(self, config: TransitionsConfig) -> TransitionCounts:
        """Read of each item that was taken the N pairs of greatest weight, among all items that were."""
        there = self.taken.nonzero()[0]
        divisor = self.taken[there] ** config.target_power
        rows = max(1, _DECODED_TOGETHER // max(len(there), 1))
        found = [(there[:0], there[:0], there[:0])]
        for sources in (there[first : first + rows] for first in range(0, len(there), rows)):
            estimated = self.estimates(sources[:, None], there[None])
            for source, row in zip(sources, estimated, strict=True):
                kept = greatest(row / divisor, config.neighbours)
                kept = kept[row[kept] > 0]
                found.append((np.full(len(kept), source), there[kept], np.rint(row[kept]).astype(np.int64)))
        source, target, count = (np.concatenate(column) for column in zip(*found, strict=True))
        shape = len(self.taken), len(self.taken)
        return TransitionCounts(sparse.coo_array((count, (source, target)), shape=shape).tocsr(), self.taken)


def table_of(counts: TransitionCounts, config: TransitionsConfig) -> TransitionTable:
    """Make the rows that are read: of the exact sum, or of cells where clients hand on sketches."""
    return TransitionTable.of(as_pairs(sketched(counts, config), config), config)


def as_pairs(counts: TransitionCounts, config: TransitionsConfig) -> TransitionCounts:
    """Return pairs as they are, and of cells the pairs that are read from them."""
    return TransitionSketch.read(counts).decoded(config) if counts.in_cells else counts


def sketched(counts: TransitionCounts, config: TransitionsConfig) -> TransitionCounts:
    """Write pairs as the cells that are handed on where clients hand on sketches; cells are left as they are."""
    return _in_form(counts, shape_of(config, counts.num_items))


def alike(counts: TransitionCounts, total: TransitionCounts) -> TransitionCounts:
    """Write pairs in the form of a sum, so that they can be added to it or taken out."""
    return _in_form(counts, total.pairs.shape)


def shape_of(config: TransitionsConfig, num_items: int) -> tuple[int, int]:
    """Return the shape of what clients hand on: of all pairs, or of the cells [d, w]."""
    if config.sketch_bits is None:
        return num_items + 1, num_items + 1
    return config.sketch_rows, 2**config.sketch_bits


def _in_form(counts: TransitionCounts, shape: tuple[int, int]) -> TransitionCounts:
    if counts.pairs.shape == shape:
        return counts
    assert not counts.in_cells, "cells cannot be turned into others, or back"
    return TransitionCounts(_hashes(shape).cells(counts), counts.taken)


def _hashes(shape: tuple[int, int]) -> PairHashes:
    return PairHashes.drawn(shape[0], math.ceil(math.log2(shape[1])))


def check_sketch(config: TransitionsConfig, num_items: int) -> None:
    """Refuse a sketch of more items than all pairs of which can be looked up.

    Raises:
        ConfigError: naming the setting.
    """
    if config.sketch_bits is not None and num_items > MOST_ITEMS:
        raise ConfigError(
            f"transitions.sketch_bits = {config.sketch_bits}: all pairs of {num_items:,} items would be looked up, and "
            f"that is done for {MOST_ITEMS:,} items at most. Leave it out, so that exact counts are sent"
        )


def check_stored(counts: TransitionCounts, config: TransitionsConfig, checkpoint: str) -> None:
    """Refuse to go on counting what a checkpoint holds in another form than clients hand on.

    Raises:
        CheckpointError: naming the checkpoint, both forms and the settings.
    """
    there, asked = counts.pairs.shape, shape_of(config, counts.num_items)
    if there != asked:
        raise CheckpointError(
            f"{checkpoint}: holds transitions as {_told(there)}, and transitions.sketch_bits = {config.sketch_bits} "
            f"with transitions.sketch_rows = {config.sketch_rows} asks for {_told(asked)}: another version began the "
            "run, or other settings. It cannot go on; train anew, under another --out or as a job without start_from"
        )


def _told(shape: tuple[int, int]) -> str:
    rows, columns = shape
    return f"the pairs of {columns - 1:,} items" if rows == columns else f"{rows} rows of {columns:,} cells"
