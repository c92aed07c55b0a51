"""The ladder and the baselines on one data set, run by run, in one table."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from cli.comparison import baseline_scorers, full_tables, list_measures
from cli.screen import answer_json, answers, notes
from cli.training import open_run, refuse_other_data, train_to_end
from fedmem.ablation import (
    PlannedRun,
    Rung,
    Tested,
    ablation_record,
    compared,
    planned_runs,
    run_result,
    rung_models,
)
from fedmem.checkpoint import RunDirectory, Snapshot
from fedmem.checkpoint.atomic_files import write_json
from fedmem.config import EvaluationConfig, ExperimentConfig
from fedmem.controls import with_transitions
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.evaluation.ablation_table import SPLITS, Record, as_markdown
from fedmem.experiment import check_resumable
from fedmem.features.store import FrozenVectors
from fedmem.modality import Modality
from fedmem.serving import Recommender


def run_ablation(
    config: ExperimentConfig,
    dataset: FederatedDataset,
    out: Path,
    rungs: Sequence[Rung],
    seeds: Sequence[int],
    *,
    as_json: bool,
) -> None:
    """Train what is missing in ``out``, then print the table and write ``ablation.json``."""
    cold = round(config.data.cold_user_fraction * len(dataset.trainable_users))
    plan = planned_runs(config, len(dataset.trainable_users) - cold, rungs, seeds)
    _refuse_other_runs(plan, out, dataset)
    snapshot_by_seed = {}
    for number, planned in enumerate(plan, start=1):
        place = f"{planned.name} ({number} of {len(plan)})"
        snapshot_by_seed[planned.config.seed] = _train(planned, out / planned.name, dataset, place)
    if not cold:  # the seeds share their users, and baselines have no seed
        snapshot_by_seed = {seeds[0]: snapshot_by_seed[seeds[0]]}
    tested: Tested = {}
    texts = _texts(plan, out)
    models = [*_baselines(snapshot_by_seed, config.evaluation, tested, texts), *_rungs(plan, out, tested, texts)]
    record = ablation_record(snapshot_by_seed[seeds[0]].dataset, models, compared(tested, seeds[0]))
    write_json(out / "ablation.json", record)
    if as_json:
        answer_json(record)
    else:
        answers.print(as_markdown(record))
    notes.print(f"the runs and ablation.json are in {out}")


def _refuse_other_runs(plan: Sequence[PlannedRun], out: Path, dataset: FederatedDataset) -> None:
    """Refuse, before anything is trained, a run in ``out`` that cannot be continued."""
    for planned in plan:
        directory = RunDirectory(out / planned.name)
        if directory.exists:
            refuse_other_data(directory, dataset)
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


def _baselines(
    snapshots: Mapping[int, Snapshot], config: EvaluationConfig, tested: Tested, texts: FrozenVectors | None
) -> list[Record]:
    runs: dict[str, list[Record]] = {}
    for seed, snapshot in snapshots.items():
        scorers = baseline_scorers(snapshot.dataset)
        tables = {s: full_tables(snapshot.dataset, scorers, s, config, with_chance=True) for s in SPLITS}
        lists = list_measures(snapshot.dataset, scorers, "test", texts)
        for name, table in tables["test"].items():
            metrics: Record = {split: tables[split][name].to_dict()["metrics"] for split in SPLITS}
            runs.setdefault(name, []).append({"seed": seed, **metrics, "lists": lists.get(name)})
            tested.setdefault(name, []).append(table)
    return [{"name": name, "runs": found} for name, found in runs.items()]


def _rungs(plan: Sequence[PlannedRun], out: Path, tested: Tested, texts: FrozenVectors | None) -> list[Record]:
    models: dict[str, list[Record]] = {}
    for planned in plan:
        snapshot, scorers = _scorers(planned.rung, out / planned.name)
        tables = full_tables(snapshot.dataset, scorers, "test", snapshot.config.evaluation, with_chance=False)
        lists = list_measures(snapshot.dataset, scorers, "test", texts)
        for model in rung_models(planned.rung, [run_result(out / planned.name)]):
            name = model["name"]
            models.setdefault(name, []).extend(run | {"lists": lists[name]} for run in model["runs"])
            tested.setdefault(name, []).append(tables[name])
    return [{"name": name, "runs": found} for name, found in models.items()]


def _scorers(rung: Rung, path: Path) -> tuple[Snapshot, dict[str, Recommender]]:
    """Return what a run started from and its best model, by name, where the rung shows it also without transitions."""
    directory = RunDirectory(path)
    snapshot, checkpoint = directory.read_snapshot(), directory.read_best()
    scorers = {rung.title: Recommender.of(snapshot, checkpoint, rung.title)}
    if rung.without is not None:
        scorers[rung.without] = Recommender.of(snapshot, with_transitions(checkpoint, None), rung.without)
    return snapshot, scorers
