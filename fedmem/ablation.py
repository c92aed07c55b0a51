"""The ladder on one data set: each rung a configuration, and the record of what the rungs and baselines reached."""

import datetime
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedmem import __version__
from fedmem.checkpoint import RunDirectory, RunRecord
from fedmem.config import ExperimentConfig, FederatedConfig
from fedmem.config_reader import merged, validate_config
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError
from fedmem.evaluation.ablation_table import IDS_ONLY_TITLE, SHOWN, Record
from fedmem.evaluation.bootstrap import bootstrap, paired_differences
from fedmem.evaluation.metric_table import MetricTable
from fedmem.provenance import source_commit
from fedmem.randomness import numpy_generator

# Pooled training may pass over all users this many times as often as the federated rungs, and validates this much
# more seldom.
POOLED_PASSES, POOLED_EVALUATION = 2.5, 2


@dataclass(frozen=True)
class Rung:
    """A rung: a configuration, whose run shows the model with the transition memory and without it.

    Attributes:
        name: that of its file in ``configs/``.
        title: what the model is called.
        settings: what it sets, by dotted name.
        without: what the same model without the transition memory is called, where the table is to show it.
        pooled: whether it trains on pooled data.
    """

    name: str
    title: str
    settings: tuple[tuple[str, object], ...] = ()
    without: str | None = None
    pooled: bool = False


def _disabled(*parts: str) -> tuple[tuple[str, object], ...]:
    return tuple((f"ablation.disable_{part}", True) for part in parts)


_EXPERTS = (("ablation.disable_moe", False),)
_IDS_ONLY = tuple((f"features.{name}", "off") for name in ("text", "image", "preference_text"))

LADDER = (
    Rung("sasrec", IDS_ONLY_TITLE, (*_disabled("moe", "memory"), *_IDS_ONLY), pooled=True),
    Rung("centralised", "centralised SASRec", _disabled("moe", "memory"), pooled=True),
    Rung("transitions", "FedMem-Transitions", _disabled("moe"), without="FedAvg-SASRec"),
    Rung("fedmem_no_proto", "FedMem-NoProto", (*_EXPERTS, *_disabled("prototype_agg"))),
    Rung("fedmem_no_contrast", "FedMem-NoContrast", (*_EXPERTS, *_disabled("contrastive"))),
    Rung("fedmem_full", "FedMem-Full", _EXPERTS, without="FedMem-NoTransitions"),
)


def variants(config: ExperimentConfig, changes: Sequence[tuple[str, Sequence[object]]]) -> list[Rung]:
    """List Full with one setting changed at a time: a rung per value of each key that is not Full's own.

    Raises:
        ConfigError: if there is no such setting or it cannot have such a value.
    """
    full, found = LADDER[-1], []
    settings = rung_config(full, config, 1, config.seed).settings()
    for key, values in changes:
        for value in values:
            rung = Rung(f"{key}-{value}", f"{full.title}, {key} = {value}", (*full.settings, (key, value)))
            rung_config(rung, config, 1, config.seed)  # refuses what cannot be set
            if settings[key] != value:
                found.append(rung)
    return found


@dataclass(frozen=True)
class PlannedRun:
    """One run of the ladder: a rung with one seed."""

    rung: Rung
    config: ExperimentConfig

    @property
    def name(self) -> str:
        """The directory's name."""
        return f"{self.rung.name}-{self.config.seed}"


def planned_runs(
    config: ExperimentConfig, num_clients: int, rungs: Sequence[Rung], seeds: Sequence[int]
) -> list[PlannedRun]:
    """List every run, a whole ladder per seed; ``config`` is FedMem-Full's but for the switches of the rungs."""
    return [PlannedRun(rung, rung_config(rung, config, num_clients, seed)) for seed in seeds for rung in rungs]


def rung_config(rung: Rung, config: ExperimentConfig, num_clients: int, seed: int) -> ExperimentConfig:
    """Turn a configuration into the rung's; ``num_clients`` take part in training.

    Raises:
        ConfigError: if the configuration demands what the rung turns off.
    """
    tree = config.model_dump() | {"seed": seed}
    for key, value in rung.settings:
        *sections, name = key.split(".")
        tree = merged(tree, {sections[0]: {name: value}} if sections else {name: value})
    if rung.pooled:
        tree["federated"] |= _pooled(config.federated, num_clients)
        tree["evaluation"]["eval_every"] = _passes(config.federated, POOLED_EVALUATION * config.evaluation.eval_every)
    return validate_config(tree, f"the rung {rung.name}")


def _pooled(config: FederatedConfig, num_clients: int) -> Record:
    """Train all users in every round, in mini-batches as large as a federated rung's clients of a round."""
    return {
        "client_fraction": 1.0,
        "centralised_batch": max(1, round(config.client_fraction * num_clients)),
        "num_rounds": _passes(config, POOLED_PASSES * config.num_rounds),
    }


def _passes(config: FederatedConfig, rounds: float) -> int:
    """Convert federated rounds to passes over all users, at least one."""
    return max(1, round(config.client_fraction * rounds))


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
