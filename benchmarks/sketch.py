"""NDCG@10 against the bytes of the count sketch in which clients send their transitions.

    python -m benchmarks.sketch runs/ml-1m

For each size the weight of the transition memory is chosen on validation, as training would, with the dense scores of
the run's best model: nothing is trained. Writes benchmarks/results/sketch-NAME.json.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.measure import machine, write_result
from benchmarks.stored_scores import StoredScores, loaded
from fedmem.config import TransitionsConfig
from fedmem.memory.count_sketch import sketched, table_of
from fedmem.memory.transitions import TransitionCounts

SIZES = ((3, 14), (3, 16), (5, 16), (3, 18), (5, 18), (3, 20), (5, 20))

Row = dict[str, float]


def measure(config: TransitionsConfig, counts: TransitionCounts, validation: StoredScores, test: StoredScores) -> Row:
    """Measure one size."""
    table = table_of(counts, config)
    found = {strength: validation.ndcg(table, strength) for strength in config.strengths}
    best = max(sorted(found), key=found.__getitem__)
    megabytes = sketched(counts, config).num_bytes / 1e6 if any(config.strengths) else 0.0
    return {"megabytes": megabytes, "strength": best, "validation": found[best], "test": test.ndcg(table, best)}


def main() -> None:
    """Measure no transitions, the exact ones, and sketches of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory")
    run = parser.parse_args().run
    recommender = loaded(run)
    transitions, config = recommender.trained.transitions, recommender.config.transitions
    assert transitions is not None, "as loaded"
    splits = StoredScores.of(recommender, "validation"), StoredScores.of(recommender, "test")
    sizes = {f"{d} x 2^{bits}": config.model_copy(update={"sketch_rows": d, "sketch_bits": bits}) for d, bits in SIZES}
    tried = {"none": config.model_copy(update={"strengths": (0.0,)}), "exact": config} | sizes
    rows = {}
    for name, changed in tried.items():
        rows[name] = measure(changed, transitions.counts, *splits)
        told = " ".join(f"{key} {value:.4f}" for key, value in rows[name].items())
        sys.stdout.write(f"{name:>9}: {told}\n")
        sys.stdout.flush()
    name = recommender.dataset.name
    path = write_result(f"sketch-{name}", {"run": run.name, "rows": rows, "machine": machine()})
    sys.stdout.write(f"kept in {path}\n")


if __name__ == "__main__":
    main()
