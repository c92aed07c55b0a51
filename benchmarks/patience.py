"""What other rules of early stopping would have chosen, and after how many rounds, over the validations of runs.

    python -m benchmarks.patience RUN.. [--keep]

Nothing is trained. A rule ends a run where the mean NDCG@10 of the last WINDOW validations has not been better for
PATIENCE of them, and the best single one is taken, as in training. What a rule misses is known of runs that were
trained to their last round. Of one that ended before, only whether a rule would have gone on; to know more, let it:
`fedmem train --resume --set federated.patience=1000`. The same model without its transitions is a curve of its own,
which ended no run: what a rule does to it is not chosen by that rule. What a choice is worth is the mean of the five
validations around it, because the best of forty is so by luck too.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import keeping_parser, machine, tell
from fedmem.checkpoint import RunDirectory

RULES = {  # patience, window
    f"patience {patience}" + ("" if window == 1 else f", mean of the last {window}"): (patience, window)
    for window in (1, 3)
    for patience in (5, 10, 15, 20)
}
KINDS = {"as trained": "validation", "without transitions": "without_transitions"}
AROUND = 2  # validations before a choice, and as many after it, that say what it is worth

Curve = Sequence[float]
Curves = Mapping[str, Curve]


def length(curve: Curve, patience: int, window: int) -> int | None:
    """Count the validations after which a rule ends, or return None where it would have gone on."""
    best, stale = float("-inf"), 0
    for count in range(1, len(curve) + 1):
        mean = statistics.fmean(curve[max(0, count - window) : count])
        best, stale = (mean, 0) if mean > best else (best, stale + 1)
        if stale >= patience:
            return count
    return None


def best_of(curve: Curve) -> int:
    """Return the place of the best validation, the first of equals, as training keeps it."""
    return max(range(len(curve)), key=curve.__getitem__)


def worth(curve: Curve, place: int) -> float:
    """Return the mean of the validations around a place."""
    return statistics.fmean(curve[max(0, place - AROUND) : place + AROUND + 1])


def loss(curve: Curve, count: int) -> dict[str, float]:
    """Compare the choice among the first so many validations with that among all."""
    chosen, best = best_of(curve[:count]), best_of(curve)
    lost = {"best": curve[best] - curve[chosen], "worth": worth(curve, best) - worth(curve, chosen)}
    return {"share_of_rounds": count / len(curve)} | lost


def replayed(whole: Curves, unfinished: Curves, patience: int, window: int) -> dict[str, Any]:
    """Compare a rule with training to the end, in means over all whole runs; name unfinished ones it goes on with."""
    losses = {name: loss(curve, length(curve, patience, window) or len(curve)) for name, curve in whole.items()}
    means = {key: statistics.fmean(one[key] for one in losses.values()) for key in ("share_of_rounds", "best", "worth")}
    return means | {
        "ended": {name: one for name, one in losses.items() if one["share_of_rounds"] < 1},
        "goes_on": [name for name, curve in unfinished.items() if length(curve, patience, window) is None],
    }


def curves_of(run: Path) -> tuple[bool, dict[str, Curve]]:
    """Read whether a run was trained to its last round, and its validations by kind."""
    directory = RunDirectory(run)
    lines, planned = directory.read_metrics(), directory.read_manifest()["config"]["federated"]["num_rounds"]
    curves: dict[str, Curve] = {
        kind: [line[key]["NDCG@10"]["mean"] for line in lines if line.get(key)] for kind, key in KINDS.items()
    }
    if curves["without transitions"] in ([], curves["as trained"]):  # it has none
        del curves["without transitions"]
    return lines[-1]["round"] >= planned, curves


def record_of(found: Mapping[str, tuple[bool, Mapping[str, Curve]]], kind: str) -> dict[str, Any]:
    """Replay all rules on the curves of a kind."""
    whole = {name: curves[kind] for name, (ended, curves) in found.items() if ended and kind in curves}
    unfinished = {name: curves[kind] for name, (ended, curves) in found.items() if not ended and kind in curves}
    rules = {name: replayed(whole, unfinished, *rule) for name, rule in RULES.items()}
    return {"rules": rules, "whole": whole, "unfinished": unfinished}


def main() -> None:
    """Replay all rules on all runs."""
    parser = keeping_parser("patience", __doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directories")
    asked = parser.parse_args()
    found = {str(Path(*run.parts[-2:])): curves_of(run) for run in asked.runs}
    tell("patience", {kind: record_of(found, kind) for kind in KINDS} | {"machine": machine()}, asked.keep)


if __name__ == "__main__":
    main()
