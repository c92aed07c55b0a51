"""The ladder and the baselines on one data set, run by run, in one table."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cli.cold_tables import ColdTables, ServedNewItems, new_item_baselines
from cli.comparison import baseline_scorers, full_tables, list_measures
from cli.screen import answer_json, answers, notes
from cli.training import open_run, refuse_other_data, train_to_end
from fedmem.ablation import Tested, ablation_record, compared, run_result, rung_models
from fedmem.checkpoint import RunDirectory, Snapshot
from fedmem.checkpoint.atomic_files import write_json
from fedmem.config import DataConfig, EvaluationConfig, ExperimentConfig
from fedmem.controls import with_transitions
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.evaluation.ablation_table import SPLITS, Record, as_markdown
from fedmem.evaluation.cold_items import hold_out_items
from fedmem.features.store import FrozenVectors
from fedmem.modality import Modality
from fedmem.randomness import numpy_generator
from fedmem.resumable import check_resumable
from fedmem.rungs import PlannedRun, Rung, planned_runs
from fedmem.serving import Recommender


def run_ablation(
    config: ExperimentConfig,
    dataset: FederatedDataset,
    out: Path,
    rungs: Sequence[Rung],
    seeds: Sequence[int],
    new_items: float,
    *,
    as_json: bool,
) -> None:
    """Train what is missing in ``out``, then print the table and write ``ablation.json``.

    ``new_items`` is the share of the items that are held out, by a draw of each seed; 0 for none.
    """
    held_out = {s: hold_out_items(dataset, new_items, numpy_generator(s, "new items")) for s in seeds if new_items}
    data = {seed: held_out[seed].dataset if held_out else dataset for seed in seeds}
    plan = [one for seed in seeds for one in planned_runs(config, _trained(config.data, data[seed]), rungs, [seed])]
    _refuse_other_runs(plan, out, data)
    snapshots = {}
    for number, planned in enumerate(plan, start=1):
        seed, place = planned.config.seed, f"{planned.name} ({number} of {len(plan)})"
        snapshots[seed] = _train(planned, out / planned.name, data[seed], place)
    trained = {seed: one.among(snapshots[seed].dataset.trainable_users) for seed, one in held_out.items()}
    if not (held_out or config.data.cold_user_fraction):  # the seeds share their data, and baselines have no seed
        snapshots = {seeds[0]: snapshots[seeds[0]]}
    tables = Tables(ColdTables(trained), _texts(plan, out), config.evaluation)
    models = [*_baselines(snapshots, tables), *_rungs(plan, out, tables)]
    found = [*compared(tables.tested, seeds[0]), *tables.cold.differences(seeds[0])]
    record = ablation_record(snapshots[seeds[0]].dataset, models, found) | tables.cold.record()
    write_json(out / "ablation.json", record)
    if as_json:
        answer_json(record)
    else:
        answers.print(as_markdown(record))
    notes.print(f"the runs and ablation.json are in {out}")


def _trained(config: DataConfig, dataset: FederatedDataset) -> int:
    """Count the users who are not kept out of training."""
    trainable = len(dataset.trainable_users)
    return trainable - round(config.cold_user_fraction * trainable)


def _refuse_other_runs(plan: Sequence[PlannedRun], out: Path, data: Mapping[int, FederatedDataset]) -> None:
    """Refuse, before anything is trained, a run in ``out`` that cannot be continued."""
    for planned in plan:
        directory = RunDirectory(out / planned.name)
        if directory.exists:
            refuse_other_data(directory, data[planned.config.seed])
            check_resumable(directory.read_config(), planned.config)


def _train(planned: PlannedRun, path: Path, dataset: FederatedDataset, place: str) -> Snapshot:
    """Train one run to its end and test it, unless that is done; return what it started from."""
    with closing(open_run(planned.config, dataset, path, resume=True)) as run:
        notes.print(f"{place}{': finished already' if run.server.finished else ''}")
        if not run.server.finished:
            train_to_end(run, again="the same command", label=f"{place}, round")
        if not run.record.finished:
            run.finish()
        return run.snapshot


def _texts(plan: Sequence[PlannedRun], out: Path) -> FrozenVectors | None:
    """Find the items' text vectors, by which every model's lists are measured, those of a rung without texts too."""
    found = (RunDirectory(out / planned.name).read_snapshot().features.vectors for planned in plan)
    return next((vectors[Modality.TEXT] for vectors in found if Modality.TEXT in vectors), None)


@dataclass(frozen=True)
class Tables:
    """What all models are measured by, and what was found beside the record of each.

    Attributes:
        cold: new users and new items.
        texts: the items' text vectors, by which lists are measured.
        config: which metrics are measured.
        tested: the tables on test by model, one for each seed.
    """

    cold: ColdTables
    texts: FrozenVectors | None
    config: EvaluationConfig
    tested: Tested = field(default_factory=dict)


def _baselines(snapshots: Mapping[int, Snapshot], tables: Tables) -> list[Record]:
    runs: dict[str, list[Record]] = {}
    for seed, snapshot in snapshots.items():
        scorers = baseline_scorers(snapshot.dataset)
        found = {s: full_tables(snapshot.dataset, scorers, s, tables.config, with_chance=True) for s in SPLITS}
        lists = list_measures(snapshot.dataset, scorers, "test", tables.texts)
        tables.cold.add_users(seed, snapshot, scorers)
        if seed in tables.cold.held_out:
            tables.cold.add_items(seed, new_item_baselines(tables.cold.held_out[seed], snapshot))
        for name, table in found["test"].items():
            metrics: Record = {split: found[split][name].to_dict()["metrics"] for split in SPLITS}
            runs.setdefault(name, []).append({"seed": seed, **metrics, "lists": lists.get(name)})
            tables.tested.setdefault(name, []).append(table)
    return [{"name": name, "runs": found} for name, found in runs.items()]


def _rungs(plan: Sequence[PlannedRun], out: Path, tables: Tables) -> list[Record]:
    models: dict[str, list[Record]] = {}
    for planned in plan:
        seed, (snapshot, scorers) = planned.config.seed, _scorers(planned.rung, out / planned.name)
        found = full_tables(snapshot.dataset, scorers, "test", snapshot.config.evaluation, with_chance=False)
        lists = list_measures(snapshot.dataset, scorers, "test", tables.texts)
        tables.cold.add_users(seed, snapshot, scorers)
        tables.cold.add_items(seed, {name: ServedNewItems(scorer) for name, scorer in scorers.items()})
        for model in rung_models(planned.rung, [run_result(out / planned.name)]):
            name = model["name"]
            models.setdefault(name, []).extend(run | {"lists": lists[name]} for run in model["runs"])
            tables.tested.setdefault(name, []).append(found[name])
    return [{"name": name, "runs": found} for name, found in models.items()]


def _scorers(rung: Rung, path: Path) -> tuple[Snapshot, dict[str, Recommender]]:
    """Return what a run started from and its best model, by name, where the rung shows it also without transitions."""
    directory = RunDirectory(path)
    snapshot, checkpoint = directory.read_snapshot(), directory.read_best()
    scorers = {}
    if rung.without is not None:
        scorers[rung.without] = Recommender.of(snapshot, with_transitions(checkpoint, None), rung.without)
    return snapshot, scorers | {rung.title: Recommender.of(snapshot, checkpoint, rung.title)}
