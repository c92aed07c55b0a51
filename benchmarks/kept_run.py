"""Runs of a study that are kept in folders, taken up where they ended, and not trained twice."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, write_result
from fedmem.checkpoint import RunDirectory
from fedmem.config import ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.experiment import TestResult, TrainingRun
from fedmem.features.inference import one_thread
from fedmem.federated.postprocessing import Postprocessors
from fedmem.snapshot import take_snapshot

RESULT = "result.json"


def study(kind: str, dataset: str, out: Path, runs: Mapping[str, Callable[[Path], Any]], **about: Any) -> None:
    """Train the runs of a study that are not kept yet, print what each came to, and write the record of all kept.

    Args:
        kind: names the record.
        dataset: the data set's name.
        out: where the runs are kept.
        runs: by the end of its folder's name, what trains a run there and returns what it came to.
        about: what else the record says.
    """
    for name, train in runs.items():
        result = out / f"{dataset}-{name}" / RESULT
        if not result.exists():
            result.write_text(json.dumps(train(result.parent)))
        sys.stdout.write(f"{result.read_text()}\n")
        sys.stdout.flush()
    rows = [json.loads(path.read_text()) for path in sorted(out.glob(f"{dataset}-*/{RESULT}"))]
    written = write_result(f"{kind}-{dataset}", {**about, "rows": rows, "machine": machine()})
    sys.stdout.write(f"kept in {written}\n")


def trained(
    config: ExperimentConfig, dataset: FederatedDataset, path: Path, postprocessors: Postprocessors = ()
) -> tuple[TestResult, dict[str, Any]]:
    """Train a run to its end, from its last checkpoint if there is one; its test, and the best round's line."""
    with one_thread(), closing(_opened(config, dataset, path, postprocessors)) as run:
        for _ in run.rounds():
            pass
        result, lines = run.finish(), run.directory.read_metrics()
    return result, next(line for line in lines if line["round"] == result.round)


def ndcg(result: TestResult, best: dict[str, Any]) -> dict[str, float]:
    """NDCG@10 on validation and test, with the transition memory and without it."""
    alone = result.table if result.without_transitions is None else result.without_transitions
    return {
        "validation": best["validation"]["NDCG@10"]["mean"],
        "validation_without": best["without_transitions"]["NDCG@10"]["mean"],
        "test": result.table.mean("NDCG@10"),
        "test_without": alone.mean("NDCG@10"),
    }


def _opened(
    config: ExperimentConfig, dataset: FederatedDataset, path: Path, postprocessors: Postprocessors
) -> TrainingRun:
    if RunDirectory(path).exists:
        return TrainingRun.resume(path, config, postprocessors)
    return TrainingRun.start(path, take_snapshot(config, dataset), postprocessors)
