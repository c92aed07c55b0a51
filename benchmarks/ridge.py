"""Whether a ridge regression on the same sum beats the table of counts, on validation alone.

    python -m benchmarks.ridge runs/ml-1m

A row of the table says what followed an item, whatever else was in the histories. The regression of what follows,
y_t = Σ_k e_{t+k}/k, on what was taken up to then asks what an item adds to the others: B = (G + λI)⁻¹ C (session-aware
linear item-item models, Choi et al., 2021). Both sums are of clients: C is the transition memory's own c, and for G
stands c + cᵀ + 2·diag(n), which weighs pairs of a history by their distance too and is positive definite. So nothing
more is handed on. The 100 greatest entries of a row of B are read like counts. Nothing is trained.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import linalg

from benchmarks.fusion_weight import gains
from benchmarks.measure import machine, write_result
from benchmarks.stored_scores import StoredScores, loaded
from fedmem.config import TransitionsConfig
from fedmem.memory.transitions import UNIT, TransitionCounts, TransitionTable, greatest

PENALTIES = (30.0, 100.0, 300.0, 1000.0)
POWERS = (0.5, 0.75, 1.0)  # of recency
MOST_ITEMS = 4_000  # the most taken, of which the matrix is inverted; the others have no rows here
Floats = npt.NDArray[np.float64]


def regression(counts: TransitionCounts, penalty: float) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return the items that are regressed on [n], and B [n, n]."""
    items = np.sort(greatest(counts.taken.astype(np.float64), MOST_ITEMS))
    pairs: Floats = counts.pairs[items][:, items].toarray() / UNIT
    gram = pairs + pairs.T + np.diag(2.0 * counts.taken[items] + penalty)
    return items, linalg.solve(gram, pairs, assume_a="pos", overwrite_a=True)


def table(counts: TransitionCounts, config: TransitionsConfig, penalty: float) -> TransitionTable:
    """Make rows of the regression's greatest entries."""
    places, weights = regression(counts, penalty)
    items = np.zeros((len(counts.taken), config.neighbours), np.int32)
    kept = np.zeros(items.shape, np.float32)
    for item, row in zip(places, weights, strict=True):
        chosen = greatest(row, config.neighbours)
        chosen = chosen[row[chosen] > 0]
        items[item, : len(chosen)], kept[item, : len(chosen)] = places[chosen], row[chosen]
    return TransitionTable(items, kept, counts.taken, config)


def best(scores: StoredScores, read: TransitionTable, power: float) -> tuple[float, Floats]:
    """Find the strength that is best, and each user's NDCG@10 with it [U]."""
    config = read.config.model_copy(update={"recency_power": power})
    read = TransitionTable(read.items, read.weights, read.taken, config)
    users = len(scores.users)
    found = {strength: gains(scores.ranks(read, np.full(users, strength))) for strength in config.strengths}
    strength = max(sorted(found), key=lambda key: float(found[key].mean()))
    return strength, found[strength]


def measured(run: Path) -> tuple[str, dict[str, dict[str, float]]]:
    """Try each penalty and recency power; NDCG@10 and its paired difference to the table as configured."""
    recommender = loaded(run)
    transitions, config = recommender.trained.transitions, recommender.config.transitions
    assert transitions is not None, "as loaded"
    scores, rows = StoredScores.of(recommender, "validation"), {}
    plain = TransitionTable.of(transitions.counts, config)
    configured = best(scores, plain, config.recency_power)[1]
    for penalty in (None, *PENALTIES):
        read = plain if penalty is None else table(transitions.counts, config, penalty)
        for power in POWERS:
            strength, found = best(scores, read, power)
            more = found - configured
            error = more.std() / len(more) ** 0.5
            name = f"{'counts' if penalty is None else f'ridge {penalty:g}'}, recency {power:g}"
            rows[name] = {"strength": strength, "ndcg": found.mean(), "gain": more.mean(), "error": error}
    return recommender.dataset.name, rows


def main() -> None:
    """Measure runs, print them and write one record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run directories")
    found = dict(measured(run) for run in parser.parse_args().runs)
    for name, rows in found.items():
        sys.stdout.write(f"{name}\n")
        for way, row in rows.items():
            sys.stdout.write(f"{way:>26}: " + " ".join(f"{key} {value:+.4f}" for key, value in row.items()) + "\n")
    sys.stdout.write(f"kept in {write_result('ridge', {'data': found, 'machine': machine()})}\n")


if __name__ == "__main__":
    main()
