"""The best items of very large catalogues: exactly, and by FAISS behind the same function.

recall   share of the exact top 10 that FAISS finds, over QUERIES queries.
ratio    its CPU time over that of the exact product, one thread, one query at a time, in one interleaved run.
build    seconds to build its index.

Item vectors are drawn as a catalogue's are spread: around themes, some tight, some wide, and of unequal length, as
popular items are longer than others; a query points where a user's taste lies, between two themes.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import interleaved, machine, ratio
from benchmarks.serve import DIM, K, columns_of, require_peers
from fedmem.features.inference import one_thread
from fedmem.serving.ranking import PROBES, ExactRanking, FaissRanking, Ranking, TopK

ITEMS = 1_000_000
QUERIES = 200
THEMES = 2000
RECALL_GOAL = 0.95

Advance = Callable[[str, int, int], None]
FloatArray = npt.NDArray[np.float32]
_NOTHING = np.zeros(0, np.int64)


def top_k(
    items: int = ITEMS, probes: int = PROBES, repetitions: int = 5, advance: Advance = lambda *_: None
) -> dict[str, Any]:
    """Measure recall, ratio and time to build; return one record.

    Raises:
        FedMemError: if faiss is not installed.
    """
    require_peers()
    rng = np.random.default_rng(0)
    advance("drawing vectors", 0, 3)
    rows, queries = catalogue(rng, items)
    exact = ExactRanking(columns_of(rows))
    advance("building the index", 1, 3)
    with one_thread():
        began = time.process_time()
        quick = FaissRanking(exact.columns, probes)
        build = time.process_time() - began
        advance("searching", 2, 3)
        seconds = interleaved(
            {"quick": lambda: lists(quick, queries[:20]), "exact": lambda: lists(exact, queries[:20])}, repetitions
        )
        found, best = lists(quick, queries), lists(exact, queries)
    shared = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(found, best, strict=True)]
    return {
        "items": items,
        "probes": probes,
        "recall": float(np.mean(shared)),
        "ratio": ratio(seconds, "quick", "exact"),
        "exact_milliseconds": 1e3 * float(np.median(seconds["exact"])) / 20,
        "build_seconds": build,
        "machine": machine(),
    }


def lists(ranking: Ranking, queries: FloatArray) -> list[npt.NDArray[np.integer[Any]]]:
    """List the top 10 of each query, asked one by one."""
    return [ranking.best(query[None], [TopK(K, _NOTHING)])[0][0] for query in queries]


def catalogue(rng: np.random.Generator, items: int) -> tuple[FloatArray, FloatArray]:
    """Draw item vectors [I, D] around themes, and queries [QUERIES, D] between two of them."""
    themes = rng.standard_normal((min(THEMES, items), DIM)).astype(np.float32)
    width = rng.uniform(0.3, 0.9, len(themes)).astype(np.float32)
    of = rng.integers(len(themes), size=items)
    rows = rng.standard_normal((items, DIM), dtype=np.float32)
    rows *= width[of, None]
    rows += themes[of]
    rows *= rng.lognormal(0, 0.25, (items, 1)).astype(np.float32)
    first, second = rng.integers(len(themes), size=(2, QUERIES))
    noise = rng.standard_normal((QUERIES, DIM)).astype(np.float32)
    return rows, themes[first] + 0.5 * themes[second] + 0.5 * noise
