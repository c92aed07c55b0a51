"""``fedmem evaluate``: a run's best model beside the baselines, its controls, and its users who never trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from fedmem.checkpoint import Checkpoint, RunDirectory, Snapshot
from fedmem.cli.screen import answer_json, answers, notes, stages
from fedmem.controls import control_recommenders
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import CheckpointError, DataError
from fedmem.evaluation.baselines import EASE, ItemItemCounts, Popularity, chance
from fedmem.evaluation.cold_start import ColdStartRow, evaluate_cold_start
from fedmem.evaluation.evaluate import Scorer, evaluate
from fedmem.evaluation.metric_table import MetricTable
from fedmem.evaluation.report import as_records, as_rich, cold_start_as_rich, cold_start_tables, differences_as_rich
from fedmem.serving import Recommender

Split = Literal["test", "validation"]


def run_evaluation(
    path: Path, split: Split, beside: Sequence[Path], *, baselines: bool, controls: bool, as_json: bool
) -> None:
    """Evaluate the best checkpoint in ``path``, with other runs beside it, and print the tables."""
    directory = RunDirectory(path)
    snapshot, checkpoint = directory.read_snapshot(), directory.read_best()
    best = checkpoint.server.round
    scorers = _scorers(snapshot, checkpoint, baselines=baselines, controls=controls)
    scorers |= {str(other): _beside(other, snapshot.dataset) for other in beside}
    tables = _warm_tables(snapshot, scorers, split, with_chance=baselines)
    cold = _cold_rows(snapshot, scorers)
    if as_json:
        cold_records = as_records(cold_start_tables(cold))
        answer_json({"split": split, "round": best, "warm": as_records(tables), "cold": cold_records})
        return
    answers.print(as_rich(tables, f"{snapshot.dataset.name}, {split}, model of round {best}", answers.width))
    if controls:
        answers.print(differences_as_rich(tables, "trained model", "paired difference to the trained model"))
    if cold:
        title = f"{cold[0].table.num_users} users who never trained, n most recent interactions as input"
        answers.print(cold_start_as_rich(cold, title))


def _scorers(snapshot: Snapshot, checkpoint: Checkpoint, *, baselines: bool, controls: bool) -> dict[str, Scorer]:
    scorers: dict[str, Scorer] = dict(_baselines(snapshot.dataset)) if baselines else {}
    models = (
        control_recommenders(snapshot, checkpoint)
        if controls
        else {"trained model": Recommender(snapshot, checkpoint, "trained model")}
    )
    return {**scorers, **models}


def _beside(path: Path, dataset: FederatedDataset) -> Recommender:
    other = Recommender.load(path)
    same_users = np.array_equal(other.dataset.trainable_users, dataset.trainable_users)
    if other.dataset.digest != dataset.digest or not same_users:
        raise CheckpointError(
            f"--beside {path}: that run was trained on other data or other users; its figures do not compare."
        )
    return other


def _baselines(dataset: FederatedDataset) -> Mapping[str, Scorer]:
    found: dict[str, Scorer] = {"popularity": Popularity(dataset), "item-item counts": ItemItemCounts(dataset)}
    try:
        found["EASE + recency"] = EASE(dataset)
    except DataError as error:
        notes.print(f"without EASE: {error}", markup=False)
    return found


def _warm_tables(
    snapshot: Snapshot, scorers: Mapping[str, Scorer], split: Split, *, with_chance: bool
) -> dict[str, MetricTable]:
    dataset, config = snapshot.dataset, snapshot.config.evaluation
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


def _cold_rows(snapshot: Snapshot, scorers: Mapping[str, Scorer]) -> list[ColdStartRow]:
    """The cold-start rows; none, with a note, where users were kept out of training but all are too short."""
    dataset, config = snapshot.dataset, snapshot.config.evaluation
    if not len(dataset.cold_users):
        return []
    try:
        return evaluate_cold_start(dataset, scorers, k_list=config.k_list, metrics=config.metrics)
    except DataError as error:
        notes.print(f"no cold-start table: {error}", markup=False)
        return []
