"""The best items of a query: exactly, or, in catalogues too large for that, among candidates that FAISS finds.

Both end in the same step: the candidates' scores are computed anew, each by itself, and put in order, equal ones by
item index. So an answer depends neither on what else was asked in the same batch nor on who proposed the candidates.
"""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedmem.memory.transitions import RememberedScores

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.integer[Any]]
Best = tuple[Indices, FloatArray]

logger = logging.getLogger(__name__)

# Up to this many items the exact product takes about a millisecond and a half at D_x = 128, one thread.
EXACT_ITEMS = 200_000
# Cells that FAISS searches of √I. Measured by fedmem bench topk.
PROBES = 32
# How many more than wanted FAISS is asked for, so that its rounding seldom makes it be asked twice.
_MARGIN = 8
# Queries multiplied together: what their scores take grows with it, and the product is not much quicker beyond.
_TOGETHER = 32
# Blocks of items per item asked for, whose maxima say where the k-th best must lie.
_BLOCKS_PER_RESULT = 8
_WIDEST = 64
_LOWEST = float(np.finfo(np.float32).min)  # hidden items lie below
_HALF_ULP = float(np.finfo(np.float32).eps) / 2


@dataclass(frozen=True, eq=False)
class TopK:
    """What to find for one query.

    Attributes:
        count: how many items at most.
        hidden: item indices that are not to be found.
        outside: columns that are not to be found [I + 1], or None.
        remembered: what is added to some items' scores, or None.
    """

    count: int
    hidden: Indices
    outside: BoolArray | None = None
    remembered: RememberedScores | None = None

    def added(self, items: Indices) -> FloatArray | float:
        """Look up what is added to the scores of some items."""
        return 0.0 if self.remembered is None else self.remembered.of(items)


class Ranking(Protocol):
    """Finds the best items of queries."""

    def best(self, queries: FloatArray, wanted: Sequence[TopK]) -> list[Best]:
        """Find indices and scores of the best items of each query [B, D_x], best first, equal scores by item index."""
        ...

    def with_columns(self, columns: FloatArray, changed: Indices) -> "Ranking":
        """Make the ranking of a matrix in which these items changed or were appended."""
        ...


class ExactRanking:
    """Every item is scored.

    Args:
        columns: the item matrix, transposed and contiguous [D_x, I + 1]; column 0 is padding and never found.
    """

    def __init__(self, columns: FloatArray) -> None:
        assert columns.flags.c_contiguous, "numpy reads whole rows"
        self.columns = columns
        longest = float(np.sqrt(np.square(columns).sum(0).max()))
        self._error = 2 * len(columns) * _HALF_ULP * longest
        self._free: list[FloatArray] = []  # scratch that is not in use: as many as ever computed at once

    def best(self, queries: FloatArray, wanted: Sequence[TopK]) -> list[Best]:
        """Do as ``Ranking.best``."""
        if len(queries) == 1:
            return [self._best_of_one(queries[0], wanted[0])]
        found: list[Best] = []
        for first in range(0, len(queries), _TOGETHER):
            found += self._best_of_some(queries[first : first + _TOGETHER], wanted[first : first + _TOGETHER])
        return found

    def with_columns(self, columns: FloatArray, changed: Indices) -> "ExactRanking":
        """Do as ``Ranking.with_columns``."""
        return ExactRanking(columns)

    def _best_of_one(self, query: FloatArray, wanted: TopK) -> Best:
        # A product with one vector takes another, quicker way through the matrix than one with a matrix of one row.
        scratch = self._scratch(1)
        scores = np.dot(query, self.columns, out=scratch[0])
        hide(scores, wanted)
        rounding = self.rounding(float(query @ query))
        if wanted.remembered is not None:
            rounding += add_remembered(scores, wanted.remembered)
        bound = lower_bounds(scores, wanted.count) - rounding
        column = (scores >= max(bound, _LOWEST)).nonzero()[0]
        self._free.append(scratch)
        exact = scores_of(self.columns, column, query[:, None]) + wanted.added(column)
        order = (-exact).argsort(kind="stable")[: wanted.count]
        return column[order], exact[order]

    def _best_of_some(self, queries: FloatArray, wanted: Sequence[TopK]) -> list[Best]:
        scratch = self._scratch(len(queries))
        scores = np.matmul(queries, self.columns, out=scratch[: len(queries)])
        rounding = self.rounding(np.square(queries).sum(1))
        remembering = [(n, asked.remembered) for n, asked in enumerate(wanted) if asked.remembered is not None]
        for row, asked in zip(scores, wanted, strict=True):
            hide(row, asked)
        for n, remembered in remembering:
            rounding[n] += add_remembered(scores[n], remembered)
        count = max(asked.count for asked in wanted)
        bounds = lower_bounds(scores, count) - rounding
        places = np.flatnonzero(scores >= np.maximum(bounds, _LOWEST)[:, None])
        row, column = np.divmod(places, scores.shape[1])
        self._free.append(scratch)
        exact = scores_of(self.columns, column, queries.T.take(row, axis=1))
        ends = np.searchsorted(row, np.arange(len(queries) + 1)).tolist()
        for n, remembered in remembering:
            exact[ends[n] : ends[n + 1]] += remembered.of(column[ends[n] : ends[n + 1]])
        order = np.lexsort((-exact, row))
        column, exact = column[order], exact[order]
        return [
            (column[start : min(end, start + asked.count)], exact[start : min(end, start + asked.count)])
            for start, end, asked in zip(ends, ends[1:], wanted, strict=False)
        ]

    def rounding(self, squared: Any) -> Any:
        """Bound the scores' error for queries of these squared lengths, twice: no rounding is to hide an item."""
        return self._error * squared**0.5

    def _scratch(self, rows: int) -> FloatArray:
        """Borrow memory for scores [rows or more, I + 1]: allocating it costs as much as the product."""
        try:
            scratch = self._free.pop()
        except IndexError:
            scratch = np.empty((0, 0), np.float32)
        return scratch if len(scratch) >= rows else np.empty((rows, self.columns.shape[1]), np.float32)


class FaissRanking:
    """Only the items of the nearest of many cells are scored (FAISS, an inverted file): quick, and not always right.

    Where more is wanted than these cells hold, all other items follow, so that a list can be read to its end. What is
    filtered is answered exactly, because a cell may hold nothing that passes.

    Args:
        columns: the item matrix, transposed and contiguous [D_x, I + 1]; column 0 is padding and never found.
        probes: how many cells are searched.

    Raises:
        ImportError: if faiss is not installed.
    """

    def __init__(self, columns: FloatArray, probes: int = PROBES) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.exact = ExactRanking(columns)
        self.always: Indices = np.zeros(0, np.int64)  # items of which the index knows nothing, or something old
        rows = np.ascontiguousarray(columns[:, 1:].T)
        cells = max(1, int(np.sqrt(len(rows))))
        self._index: Any = faiss.index_factory(rows.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
        self._index.train(rows)
        self._index.add(rows)
        self._index.nprobe = min(probes, cells)  # type: ignore[attr-defined]

    def best(self, queries: FloatArray, wanted: Sequence[TopK]) -> list[Best]:
        """Do as ``Ranking.best``, among the candidates."""
        return [self._best(query, asked) for query, asked in zip(queries, wanted, strict=True)]

    def with_columns(self, columns: FloatArray, changed: Indices) -> "FaissRanking":
        """Do as ``Ranking.with_columns``: what changed is a candidate of every query from now on."""
        other = copy.copy(self)
        other.exact = ExactRanking(columns)
        other.always = np.union1d(self.always, changed)
        return other

    def _best(self, query: FloatArray, wanted: TopK) -> Best:
        """Find the best of the cells searched and, after them, of all others: for any count the head of one order."""
        if wanted.outside is not None:
            return self.exact.best(query[None], [wanted])[0]
        column, scores = self._best_of_cells(query, wanted)
        missing = wanted.count - len(column)
        if missing <= 0:
            return column, scores
        others = TopK(missing, np.union1d(wanted.hidden, column), remembered=wanted.remembered)
        ((more, lower),) = self.exact.best(query[None], [others])
        return np.concatenate([column, more]), np.concatenate([scores, lower])

    def _best_of_cells(self, query: FloatArray, wanted: TopK) -> Best:
        """Find the best of the items in the cells searched, all of them where there are not as many as wanted.

        What FAISS returns is cut off by its own rounding. It is asked for more until no item that it keeps back can be
        among the best by the scores that count here; otherwise pages, which want more and more, would not fit together.
        """
        hidden = np.unique(wanted.hidden)
        always = self.always if wanted.remembered is None else np.union1d(self.always, wanted.remembered.named())
        count, rounding = wanted.count + len(hidden) + _MARGIN, self.exact.rounding(float(query @ query))
        while True:
            values, found = self._index.search(query[None], min(count, self._index.ntotal + 1))
            column = np.union1d(found[0][found[0] >= 0] + 1, always)
            column = column[~np.isin(column, hidden)]
            exact = scores_of(self.exact.columns, column, query[:, None]) + wanted.added(column)
            order = (-exact).argsort(kind="stable")[: wanted.count]
            complete = found[0][-1] < 0
            if complete or (len(order) == wanted.count and values[0][-1] < exact[order[-1]] - rounding):
                return column[order], exact[order]
            count *= 4


def ranking_of(columns: FloatArray, exact_items: int = EXACT_ITEMS) -> Ranking:
    """Choose a ranking by the catalogue's size: exact or, if it is large and faiss is installed, approximate."""
    items = columns.shape[1] - 1
    if items <= exact_items:
        return ExactRanking(columns)
    try:
        ranking = FaissRanking(columns)
    except ImportError:
        logger.warning("%d items are scored one by one: faiss is not installed (pip install fedmem[faiss])", items)
        return ExactRanking(columns)
    logger.info("%d items: the best are looked for by FAISS; fedmem bench topk says how many it finds", items)
    return ranking


def add_remembered(scores: FloatArray, remembered: RememberedScores) -> float:
    """Add what is remembered to the scores [I + 1]; returns by how much that may round them, twice."""
    remembered.add_to(scores)
    return 4 * _HALF_ULP * remembered.largest  # of the other part, the bound of rounding has room for it


def hide(scores: FloatArray, wanted: TopK) -> None:
    """Set the scores [I + 1] of what must not be found to minus infinity."""
    scores[0] = -np.inf
    if len(wanted.hidden):
        scores[wanted.hidden] = -np.inf
    if wanted.outside is not None:
        scores[wanted.outside] = -np.inf


def lower_bounds(scores: FloatArray, count: int) -> FloatArray:
    """Find numbers that at least ``count`` values reach, of each row [.., n] -> [..]: the k-th best, or a little less.

    The k-th largest of the maxima of blocks is one, and far cheaper than the k-th largest value. Minus infinity where a
    row has fewer values.
    """
    n = scores.shape[-1]
    if count >= n:
        return np.full(scores.shape[:-1], -np.inf, np.float32)
    width = min(n // (_BLOCKS_PER_RESULT * count), _WIDEST)
    if width > 1:
        blocks = n // width
        # A block is a column here: maxima of rows that lie beside each other are taken at full speed.
        scores = np.maximum.reduce(scores[..., : blocks * width].reshape(*scores.shape[:-1], width, blocks), axis=-2)
    last = scores.shape[-1] - count
    bounds: FloatArray = np.partition(scores, last, axis=-1)[..., last]
    return bounds


def scores_of(columns: FloatArray, column: Indices, queries: FloatArray) -> FloatArray:
    """Compute the scores of some items [c], each for its own query [D_x, c] or all for one [D_x, 1].

    The sum over the first axis adds number by number: an item's score is the same whatever stands beside it.
    """
    exact: FloatArray = np.add.reduce(columns.take(column, axis=1) * queries, axis=0)
    return exact


def nearest_before(columns: FloatArray, indices: npt.NDArray[np.integer], last: int) -> npt.NDArray[np.int32]:
    """Find for each item [n] which one of 1..last has the column with the greatest cosine to its own."""
    older = columns[:, 1 : last + 1]
    length = np.maximum(np.sqrt(np.square(older).sum(0)), 1e-12)
    found: npt.NDArray[np.int32] = 1 + ((columns[:, indices].T @ older) / length).argmax(1).astype(np.int32)
    return found


def most_similar(columns: FloatArray, index: int, k: int) -> Best:
    """Find the k items whose columns have the greatest cosine to that of one, and the cosines; not the item itself."""
    length = np.maximum(np.sqrt(np.square(columns).sum(0)), 1e-12)
    cosine = (columns[:, index] @ columns) / length / length[index]
    cosine[[0, index]] = -np.inf
    order = np.argsort(-cosine, kind="stable")[: min(k, columns.shape[1] - 2)]
    return order, np.clip(cosine[order], -1, 1)
