"""The record of what the rungs and the baselines reached on one data set."""

import datetime
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedmem import __version__
from fedmem.checkpoint import RunDirectory, RunRecord
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError
from fedmem.evaluation.ablation_table import SHOWN, Record
from fedmem.evaluation.bootstrap import bootstrap, paired_differences
from fedmem.evaluation.metric_table import MetricTable
from fedmem.provenance import source_commit
from fedmem.randomness import numpy_generator
from fedmem.rungs import Rung


def run_result(path: Path) -> Record:
    """Report a finished run: its best model on both splits, rounds, seconds, bytes per client and round, its source.

    ``validation`` is null where the run ended before its first validation, ``bytes`` where nothing is sent;
    ``without_transitions`` is null where the score has no transition memory.

    Raises:
        CheckpointError: if the run is not finished.
    """
    directory = RunDirectory(path)
    manifest, config = directory.read_manifest(), directory.read_config()
    record, lines = directory.read_record(), directory.read_metrics()
    if record.test is None:
        raise CheckpointError(f"{path}: the run is not finished. Train it to its end.")
    best = next(line for line in lines if line["round"] == record.best)
    return {
        "seed": config.seed,
        "directory": path.name,
        "commit": manifest.get("commit"),
        "started": manifest.get("started"),
        "validation": best.get("validation"),
        "test": record.test["metrics"],
        "without_transitions": _without_transitions(best, record),
        "best_round": record.best,
        "rounds": record.last,
        "seconds": record.seconds,
        "bytes": None if config.federated.centralised_batch else _mean_bytes([line["metrics"] for line in lines]),
    }


def _without_transitions(best: Record, record: RunRecord) -> Record | None:
    """Return both splits' metrics of the same model without the transition memory, if it has one."""
    if record.test_without_transitions is None:
        return None
    return {"validation": best.get("without_transitions"), "test": record.test_without_transitions["metrics"]}


def rung_models(rung: Rung, runs: Sequence[Record]) -> list[Record]:
    """Name what a rung's runs have measured: the model and, before it, the same without the transition memory."""
    models = [{"name": rung.title, "runs": list(runs)}]
    if rung.without is None:
        return models
    return [{"name": rung.without, "runs": [_without(run) for run in runs]}, *models]


def _without(run: Record) -> Record:
    """Make of a run what the same one would be without the transition memory, which is then not sent either."""
    sent = {part: size for part, size in (run["bytes"] or {}).items() if not part.endswith("_transitions")}
    return run | (run["without_transitions"] or {}) | {"bytes": sent or None}


def _mean_bytes(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in metrics[0] if name.startswith("bytes_")]
    return {name.removeprefix("bytes_"): statistics.mean(line[name] for line in metrics) for name in names}


Tested = dict[str, list[MetricTable]]


def compared(tested: Mapping[str, Sequence[MetricTable]], seed: int) -> list[Record]:
    """Compare every two models by a paired bootstrap over test users and seeds, the later minus the earlier.

    ``tested`` holds a table per seed, or one for all seeds; those without ranks (chance) are left out.
    """
    names = [name for name, tables in tested.items() if len(tables[0].ranks)]
    pairs = [(first, second) for place, second in enumerate(names) for first in names[place + 1 :]]
    rows = []
    for metric in SHOWN:
        found = [paired_differences(tested[first], tested[second], metric) for first, second in pairs]
        for seeds in dict.fromkeys(len(one) for one in found):  # of a baseline and another there is one
            chosen = [place for place, one in enumerate(found) if len(one) == seeds]
            drawn = bootstrap([found[place] for place in chosen], numpy_generator(seed, "bootstrap"))
            rows += [
                {"model": pairs[place][0], "other": pairs[place][1], "metric": metric, **vars(difference)}
                for place, difference in zip(chosen, drawn, strict=True)
            ]
    return rows


def ablation_record(dataset: FederatedDataset, models: Sequence[Record], differences: Sequence[Record] = ()) -> Record:
    """Return what a table is made from; a model is {name, runs}, a run what ``run_result`` gives or metrics alone.

    ``differences`` are those of ``compared``.
    """
    return {
        "fedmem": __version__,
        "commit": source_commit(),
        "date": str(datetime.date.today()),
        "dataset": {"name": dataset.name, "digest": dataset.digest, "users": len(dataset.evaluated_users)},
        "models": list(models),
        "differences": list(differences),
    }
