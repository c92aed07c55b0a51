"""Metrics of a run's best model beside the baselines, its controls and other runs, and on users who never trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cli.screen import notes, stages
from fedmem.checkpoint import Checkpoint, RunDirectory, Snapshot
from fedmem.config import EvaluationConfig, ExperimentConfig, Repeats
from fedmem.controls import control_recommenders
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError, DataError
from fedmem.evaluation.baselines import EASE, ItemItemCounts, Popularity, chance
from fedmem.evaluation.client_groups import client_groups, group_tables
from fedmem.evaluation.cold_start import ColdStartRow, evaluate_cold_start
from fedmem.evaluation.evaluate import Scorer, evaluate, recommended_lists, repeated_targets
from fedmem.evaluation.metric_table import MetricTable
from fedmem.evaluation.ranking_metrics import catalogue_coverage, intra_list_diversity, long_tail_share
from fedmem.evaluation.report import (
    Tables,
    as_records,
    cold_start_tables,
    differences,
)
from fedmem.evaluation.sampled import StoredNegatives, sampled_evaluate
from fedmem.features.store import FrozenVectors
from fedmem.modality import Modality
from fedmem.randomness import numpy_generator
from fedmem.serving import Recommender, score_shares

Split = Literal["test", "validation"]
LIST_LENGTH = 10
TRAINED = "trained model"


@dataclass(frozen=True)
class Questions:
    """What ``fedmem evaluate`` is asked."""

    split: Split
    beside: Sequence[Path] = ()
    baselines: bool = True
    controls: bool = False
    lists: bool = False
    groups: bool = False
    negatives: Path | None = None

    @property
    def compares(self) -> bool:
        """Whether other models are held against the trained one, user by user."""
        return self.controls or bool(self.beside)


@dataclass(frozen=True)
class Comparison:
    """What was found: a table of metrics by model, the cold users' rows, and measures of the recommended lists.

    ``shares`` are those of the trained model's parts in its scores.
    """

    asked: Questions
    dataset: str
    round: int
    tables: Mapping[str, MetricTable]
    cold: Sequence[ColdStartRow]
    lists: Mapping[str, Mapping[str, float]]
    groups: Mapping[str, Mapping[str, Tables]]
    shares: Mapping[str, float]
    repeats: Repeats
    repeated_targets: float

    def record(self) -> dict[str, Any]:
        """Return all of it for a program to read."""
        return {
            "split": self.asked.split,
            "round": self.round,
            "repeats": self.repeats,
            "repeated_targets": self.repeated_targets,
            "warm": as_records(self.tables),
            "cold": as_records(cold_start_tables(self.cold)),
            "lists": self.lists,
            "shares": self.shares,
            "groups": {
                name: {criterion: as_records(thirds) for criterion, thirds in found.items()}
                for name, found in self.groups.items()
            },
            "differences": differences(self.tables, TRAINED) if self.asked.compares else {},
        }


def compare(path: Path, asked: Questions) -> Comparison:
    """Evaluate the best checkpoint in ``path`` and what it is compared with."""
    directory = RunDirectory(path)
    snapshot, checkpoint = directory.read_snapshot(), directory.read_best()
    scorers = _scorers(snapshot, checkpoint, asked)
    tables = _warm_tables(snapshot, scorers, asked)
    return Comparison(
        asked,
        snapshot.dataset.name,
        checkpoint.server.round,
        tables,
        cold_rows(snapshot, scorers),
        _lists(snapshot, scorers, asked.split) if asked.lists else {},
        _groups(snapshot.dataset, tables) if asked.groups else {},
        score_shares(Recommender.of(snapshot, checkpoint, TRAINED)),
        snapshot.dataset.repeats,
        repeated_targets(snapshot.dataset, asked.split),
    )


def _groups(dataset: FederatedDataset, tables: Tables) -> dict[str, dict[str, dict[str, MetricTable]]]:
    groups = client_groups(dataset, dataset.evaluated_users)
    return {name: group_tables(table, groups) for name, table in tables.items() if len(table.ranks)}


def _scorers(snapshot: Snapshot, checkpoint: Checkpoint, asked: Questions) -> dict[str, Scorer]:
    scorers: dict[str, Scorer] = dict(baseline_scorers(snapshot.dataset)) if asked.baselines else {}
    if asked.controls:
        scorers |= control_recommenders(snapshot, checkpoint)
    else:
        scorers[TRAINED] = Recommender.of(snapshot, checkpoint, TRAINED)
    return scorers | {str(other): _beside(other, snapshot.dataset, snapshot.config) for other in asked.beside}


def _beside(path: Path, dataset: FederatedDataset, config: ExperimentConfig) -> Recommender:
    other = Recommender.load(path)
    same_users = np.array_equal(other.dataset.trainable_users, dataset.trainable_users)
    if other.dataset.digest != dataset.digest or not same_users:
        raise CheckpointError(
            f"--beside {path}: that run was trained on other data or other users; its figures do not compare."
        )
    _say_what_differs(path, config)
    return other


def _say_what_differs(path: Path, config: ExperimentConfig) -> None:
    """Name the settings in which another run differs."""
    before, after = config.settings(), RunDirectory(path).read_config().settings()
    found = [f"{name} {after[name]!r} instead of {value!r}" for name, value in before.items() if after[name] != value]
    if found:
        notes.print(f"--beside {path} has {', '.join(found)}")


def baseline_scorers(dataset: FederatedDataset) -> Mapping[str, Scorer]:
    """Fit the baselines, by name; without EASE, and with a note, if the catalogue is too large for it."""
    found: dict[str, Scorer] = {"popularity": Popularity(dataset), "item-item counts": ItemItemCounts(dataset)}
    try:
        found["EASE + recency"] = EASE(dataset)
    except DataError as error:
        notes.print(f"without EASE: {error}")
    return found


def _warm_tables(snapshot: Snapshot, scorers: Mapping[str, Scorer], asked: Questions) -> dict[str, MetricTable]:
    dataset, config = snapshot.dataset, snapshot.config.evaluation
    if asked.negatives is not None:
        negatives = _negatives(snapshot, asked.negatives, asked.split)
        return {
            name: sampled_evaluate(
                dataset, scorer, asked.split, negatives, k_list=config.k_list, metrics=config.metrics
            )
            for name, scorer in scorers.items()
        }
    return full_tables(dataset, scorers, asked.split, config, with_chance=asked.baselines)


def full_tables(
    dataset: FederatedDataset,
    scorers: Mapping[str, Scorer],
    split: Split,
    config: EvaluationConfig,
    *,
    with_chance: bool,
) -> dict[str, MetricTable]:
    """Evaluate each scorer's full ranking, with a progress bar."""
    tables = {}
    if with_chance:
        tables["chance"] = chance(dataset, split, k_list=config.k_list, metrics=config.metrics)
    with stages() as progress:
        for name, scorer in scorers.items():
            tables[name] = evaluate(
                dataset,
                scorer,
                split,
                k_list=config.k_list,
                metrics=config.metrics,
                progress=lambda done, total, name=name: progress(name, done, total),  # type: ignore[misc]
            )
    return tables


def _negatives(snapshot: Snapshot, path: Path, split: Split) -> StoredNegatives:
    """Load the stored negatives; draw them from the run's seed and store them if the file is not there yet."""
    if path.exists():
        return StoredNegatives.load(path)
    drawn = StoredNegatives.draw(snapshot.dataset, split, numpy_generator(snapshot.config.seed, "stored negatives"))
    drawn.save(path)
    notes.print(f"drew {drawn.items.shape[1]} negatives for each of {len(drawn.users)} users into {path}")
    return drawn


def _lists(snapshot: Snapshot, scorers: Mapping[str, Scorer], split: Split) -> dict[str, dict[str, float]]:
    return list_measures(snapshot.dataset, scorers, split, snapshot.features.vectors.get(Modality.TEXT))


def list_measures(
    dataset: FederatedDataset, scorers: Mapping[str, Scorer], split: Split, texts: FrozenVectors | None
) -> dict[str, dict[str, float]]:
    """Compute coverage, long-tail share and, if items have text, diversity of the recommended lists."""
    popularity = dataset.training_popularity()
    found = {}
    for name, scorer in scorers.items():
        lists = recommended_lists(dataset, scorer, split, LIST_LENGTH)
        found[name] = {
            "coverage": catalogue_coverage(lists, dataset.num_items),
            "long-tail share": long_tail_share(lists, popularity),
            **({} if texts is None else {"text diversity": intra_list_diversity(lists, texts.rows)}),
        }
    return found


def cold_rows(snapshot: Snapshot, scorers: Mapping[str, Scorer]) -> list[ColdStartRow]:
    """Evaluate cold start; no rows, with a note, if all users kept out of training are too short."""
    dataset, config = snapshot.dataset, snapshot.config.evaluation
    if not len(dataset.cold_users):
        return []
    try:
        return evaluate_cold_start(dataset, scorers, k_list=config.k_list, metrics=config.metrics)
    except DataError as error:
        notes.print(f"no cold-start table: {error}")
        return []
