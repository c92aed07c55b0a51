"""Transitions: what followed what in clients' histories, as sums, and the table of it that scores are read from.

c(i, j) = Σ 1/distance over the pairs of a history in which j comes at most ``window`` steps after i. Counts are whole
numbers of 1/2520, so that a sum is the same in any order, and a client can be taken out of it exactly.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fedmem.config import TransitionsConfig

IntArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.float32]
SMALL_CATALOGUE = 4_096  # columns; the scores of all its items are kept, which takes no more than naming some
UNIT = 2520  # divided without rest by every distance up to 10


@dataclass(frozen=True, eq=False)
class TransitionCounts:
    """A sum over clients, which does not say what any one of them gave.

    Attributes:
        pairs: c(i, j) in units of 1/2520, a matrix [I + 1, I + 1] of int64; row and column 0 are empty. Where a count
            sketch is handed on, its cells [d, w] instead.
        taken: how often each item was taken [I + 1].
    """

    pairs: sparse.csr_array
    taken: npt.NDArray[np.int64]

    @classmethod
    def none(cls, num_items: int) -> "TransitionCounts":
        """Count nothing, over I items."""
        size = num_items + 1
        return cls(sparse.csr_array((size, size), dtype=np.int64), np.zeros(size, np.int64))

    @classmethod
    def of(
        cls,
        histories: Sequence[IntArray],
        num_items: int,
        window: int,
        since: Sequence[int] | None = None,
        *,
        bounded: bool = False,
    ) -> "TransitionCounts":
        """Count the transitions of histories, oldest item first.

        Args:
            histories: item indices of each client.
            num_items: I.
            window: most steps from an item to one that follows it.
            since: of each history, from which position on its items are new: only what leads to them is counted.
            bounded: scale each history's pairs, and how often it took each item, to vectors of length 1 at most, as
                differential privacy for a user asks for. A history is then new as a whole or not at all.
        """
        if bounded:
            new = [h for h, first in zip(histories, since or [0] * len(histories), strict=True) if not first]
            return cls._bounded(new, num_items, window)
        begun = list(zip(histories, since or [0] * len(histories), strict=True))
        if not begun:
            return cls.none(num_items)
        counted = [followers_in(history, window, first) for history, first in begun]
        source, target, weight = (np.concatenate(column) for column in zip(*counted, strict=True))
        size = num_items + 1
        pairs = sparse.coo_array((weight, (source, target)), shape=(size, size)).tocsr()
        taken = np.bincount(np.concatenate([history[first:] for history, first in begun]), minlength=size)
        return cls(pairs, taken.astype(np.int64))

    @classmethod
    def _bounded(cls, histories: Sequence[IntArray], num_items: int, window: int) -> "TransitionCounts":
        total, size = cls.none(num_items), num_items + 1
        parts = [_unit_followers(history, window, size) for history in histories]
        if not parts:
            return total
        pair, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        pairs = sparse.coo_array((weight, (pair // size, pair % size)), shape=(size, size)).tocsr()
        pairs.eliminate_zeros()
        taken = total.taken
        for history in histories:
            items, times = np.unique(history, return_counts=True)
            taken[items] += _of_length_one(times.astype(np.int64))
        return cls(pairs, taken)

    def __add__(self, other: "TransitionCounts") -> "TransitionCounts":
        return TransitionCounts(self.pairs + other.pairs, self.taken + other.taken)

    def __sub__(self, other: "TransitionCounts") -> "TransitionCounts":
        left = self.pairs - other.pairs
        left.eliminate_zeros()
        return TransitionCounts(left, self.taken - other.taken)

    def __bool__(self) -> bool:
        """Tell whether anything was counted."""
        return bool(self.taken.any())

    @property
    def num_items(self) -> int:
        """I."""
        return len(self.taken) - 1

    @property
    def num_bytes(self) -> int:
        """Size on the wire of anything that was counted; nothing is not sent."""
        return self.block_bytes if self else 0

    @property
    def block_bytes(self) -> int:
        """Size of all pairs or cells, 4 bytes each, as a sum that hides who gave what, with how often items were taken.

        Pairs have room for these in row 0, which is empty.
        """
        rows, columns = self.pairs.shape
        return 4 * (int(rows * columns) + self.in_cells * len(self.taken))

    @property
    def in_cells(self) -> bool:
        """Whether this is a sketch: of fewer rows than it has columns."""
        rows, columns = self.pairs.shape
        return bool(rows != columns)

    def emptied(self) -> "TransitionCounts":
        """Count nothing, in the same form."""
        return TransitionCounts(sparse.csr_array(self.pairs.shape, dtype=np.int64), np.zeros_like(self.taken))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Name the arrays for checkpoints; counts in 32 bits where they fit."""
        counts = self.pairs.data
        small = not len(counts) or int(np.abs(counts).max()) < 2**31
        columns = {"columns": np.array(self.pairs.shape[1:], np.int64)} if self.in_cells else {}
        return columns | {
            "row_ends": self.pairs.indptr.astype(np.int64),
            "targets": self.pairs.indices.astype(np.int32),
            "counts": counts.astype(np.int32) if small else counts,
            "taken": self.taken,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "TransitionCounts":
        """Read what ``to_arrays`` has named; raise ValueError if it is no matrix of the items, and no cells."""
        taken, shape = arrays["taken"], (len(arrays["taken"]),) * 2
        if {arrays[name].dtype.kind for name in ("taken", "counts", "targets", "row_ends")} != {"i"}:
            raise ValueError("transitions hold what is no whole number")
        if "columns" in arrays:
            shape = len(arrays["row_ends"]) - 1, int(arrays["columns"].item())
        matrix = arrays["counts"].astype(np.int64), arrays["targets"], arrays["row_ends"]
        pairs = sparse.csr_array(matrix, shape=shape)
        pairs.check_format(full_check=True)
        return cls(pairs, taken)


def followers_in(history: IntArray, window: int, first: int) -> tuple[IntArray, IntArray, IntArray]:
    """List the pairs of a history whose second item stands at ``first`` or later: sources, targets, counts [P]."""
    steps = range(1, min(window, len(history) - 1) + 1)
    starts = [max(first - step, 0) for step in steps]
    source = [history[start : len(history) - step] for step, start in zip(steps, starts, strict=True)]
    target = [history[start + step :] for step, start in zip(steps, starts, strict=True)]
    weight = [np.full(len(part), round(UNIT / step), np.int64) for step, part in zip(steps, source, strict=True)]
    none = np.zeros(0, np.int64)
    return tuple(np.concatenate([none, *column]) for column in (source, target, weight))  # type: ignore[return-value]


def _unit_followers(history: IntArray, window: int, size: int) -> tuple[IntArray, IntArray]:
    """List the pairs of a history, i · (I + 1) + j, and their counts as a vector of length 1 at most [P]."""
    source, target, weight = followers_in(history, window, 0)
    pairs, place = np.unique(source.astype(np.int64) * size + target, return_inverse=True)
    return pairs, _of_length_one(np.bincount(place, weight, len(pairs)).astype(np.int64))


def _of_length_one(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Scale counts to length ``UNIT``, rounded down, so that it is never exceeded."""
    length = float(np.linalg.norm(counts.astype(np.float64)))
    scaled: npt.NDArray[np.int64] = np.floor(counts * (UNIT / max(length, 1.0))).astype(np.int64)
    return scaled


@dataclass(frozen=True, eq=False)
class RememberedScores:
    """The transition memory's part of the scores after one history.

    Attributes:
        scores: Σ of the rows that were read, over their standard deviation over all items [n].
        items: which items these are, ascending [n]; None for all of a small catalogue, where that is quicker: n is
            then I + 2, the last one 0, for newer items.
    """

    scores: FloatArray
    items: npt.NDArray[np.int64] | None = None

    @classmethod
    def of_all(cls, scores: npt.NDArray[np.float64], spread: float = 1.0) -> "RememberedScores":
        """Keep the scores of all items [I + 1] over their spread, in the form that suits their number."""
        if len(scores) <= SMALL_CATALOGUE:
            kept = np.zeros(len(scores) + 1, np.float32)
            np.divide(scores, spread, out=kept[:-1], casting="same_kind")
            return cls(kept)
        found = scores.nonzero()[0]
        return cls((scores[found] / spread).astype(np.float32), found)

    @cached_property
    def largest(self) -> float:
        """The greatest of them; none is below zero."""
        return float(self.scores.max(initial=0))

    def times(self, strength: float) -> "RememberedScores":
        """Weigh all of them."""
        return RememberedScores(np.float32(strength) * self.scores, self.items)

    def named(self) -> npt.NDArray[np.int64]:
        """List the items that have any, ascending."""
        return self.scores.nonzero()[0] if self.items is None else self.items

    def add_to(self, scores: FloatArray) -> None:
        """Add them to scores of all items [I + 1 or more]."""
        if self.items is None:
            scores[: len(self.scores) - 1] += self.scores[:-1]
        else:
            scores[self.items] += self.scores

    def of(self, wanted: IntArray) -> FloatArray:
        """Look up the scores of some items [m], 0 where there is none."""
        if self.items is None:
            return self.scores.take(wanted, mode="clip")
        if not len(self.items):
            return np.zeros(len(wanted), np.float32)
        place = self.items.searchsorted(wanted).clip(max=len(self.items) - 1)
        return np.where(self.items[place] == wanted, self.scores[place], np.float32(0))


@dataclass(frozen=True, eq=False)
class TransitionTable:
    """The rows that are read: of each item the N that follow it most, c(i, j) / (n_i^a · n_j^b).

    Attributes:
        items: which items [I + 1, N], 0 behind the last.
        weights: their weights, the greatest first [I + 1, N], 0 behind the last.
        taken: how often each item was taken [I + 1].
        config: how the rows are read.
    """

    items: npt.NDArray[np.int32]
    weights: FloatArray
    taken: npt.NDArray[np.int64]
    config: TransitionsConfig

    @classmethod
    def of(cls, counts: TransitionCounts, config: TransitionsConfig) -> "TransitionTable":
        """Normalise the counts and keep the N greatest of each row, equal ones by item index."""
        assert not counts.in_cells, "cells are read by count_sketch.table_of"
        pairs, taken = counts.pairs, np.maximum(counts.taken, 1).astype(np.float64)
        row = np.repeat(np.arange(len(taken)), np.diff(pairs.indptr))
        value = pairs.data / (UNIT * taken[row] ** config.source_power * taken[pairs.indices] ** config.target_power)
        width = int(min(config.neighbours, max(np.diff(pairs.indptr), default=0)))
        items, weights = np.zeros((len(taken), width), np.int32), np.zeros((len(taken), width), np.float32)
        for i, (first, end) in enumerate(itertools.pairwise(pairs.indptr.tolist())):
            kept = first + greatest(value[first:end], width)
            items[i, : len(kept)], weights[i, : len(kept)] = pairs.indices[kept], value[kept]
        return cls(items, weights, counts.taken, config)

    @cached_property
    def popularity(self) -> RememberedScores:
        """Score items by how often they were taken, log(1 + n): all that is known where there is no history."""
        return RememberedScores.of_all(np.log1p(self.taken))

    @property
    def num_bytes(self) -> int:
        """Size on the wire: an item and a weight for each entry."""
        return int(np.count_nonzero(self.items)) * (self.items.itemsize + self.weights.itemsize)

    def sources(self, history: IntArray) -> tuple[IntArray, FloatArray]:
        """Say which items of a history are read, the latest first, and their weights (1 + age)^−p [n]."""
        latest = history[len(history) - self.config.items_read if len(history) > self.config.items_read else 0 :][::-1]
        recency: FloatArray = self._recency[: len(latest)]
        return latest, recency

    @cached_property
    def _recency(self) -> FloatArray:
        ages = np.arange(self.config.items_read, dtype=np.float32)
        return (1 + ages) ** np.float32(-self.config.recency_power)

    def read(self, history: IntArray) -> RememberedScores:
        """Score what follows the latest items of a history (item indices, oldest first); of none, popularity."""
        if not len(history):
            return self.popularity
        total, spread = self._read(*self.sources(history))
        return RememberedScores.of_all(total, spread)

    def _read(self, latest: IntArray, recency: FloatArray) -> tuple[npt.NDArray[np.float64], float]:
        """Add the rows of some items up, by their weights [I + 1]; and the sum's standard deviation over the items.

        1 stands for a deviation of nothing.
        """
        weights = self.weights.take(latest, axis=0)  # quicker than by an index
        weights *= recency[:, None]
        followers = self.items.take(latest, axis=0)
        total = np.bincount(followers.ravel(), weights.ravel(), len(self.items)).astype(np.float64, copy=False)
        total[0] = 0
        num_items = len(total) - 1
        variance = total @ total / num_items - (total.sum() / num_items) ** 2
        return total, float(variance**0.5) if variance > 0 else 1.0

    def scores(self, histories: Sequence[IntArray]) -> FloatArray:
        """Score all items after each of B histories: [B, I + 1]."""
        scores = np.zeros((len(histories), len(self.items)), np.float32)
        for row, history in zip(scores, histories, strict=True):
            self.read(history).add_to(row)
        return scores

    def reasons(self, history: IntArray, found: IntArray) -> tuple[IntArray, FloatArray]:
        """Split the score of each item found [n] into what each item that was read adds: those items [m], [m, n]."""
        latest, recency = self.sources(history)
        _, spread = self._read(latest, recency)
        matches = self.items[latest][:, :, None] == found  # [m, N, n]
        parts = np.where(matches, self.weights[latest][:, :, None], 0).sum(1) * recency[:, None]
        return latest, (parts / spread).astype(np.float32)


def greatest(values: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.intp]:
    """Find the places of the n greatest values, the greatest first, equal ones in their order."""
    if len(values) > n:
        least = np.partition(values, len(values) - n)[len(values) - n]
        above, equal = (values > least).nonzero()[0], (values == least).nonzero()[0]
        places = np.sort(np.concatenate([above, equal[: n - len(above)]]))
    else:
        places = np.arange(len(values))
    order = (-values[places]).argsort(kind="stable")
    found: npt.NDArray[np.intp] = places[order]
    return found
