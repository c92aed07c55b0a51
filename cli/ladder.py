"""The ladder and the baselines on one data set, run by run, in one table."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from cli.comparison import baseline_scorers, full_tables
from cli.screen import answer_json, answers, notes
from cli.training import open_run, refuse_other_data, train_to_end
from fedmem.ablation import (
    SPLITS,
    PlannedRun,
    Record,
    Rung,
    ablation_record,
    as_markdown,
    planned_runs,
    run_result,
    rung_models,
)
from fedmem.checkpoint import RunDirectory
from fedmem.checkpoint.atomic_files import write_json
from fedmem.config import EvaluationConfig, ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.experiment import check_resumable


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
    split_by_seed = {}
    for number, planned in enumerate(plan, start=1):
        place = f"{planned.name} ({number} of {len(plan)})"
        split_by_seed[planned.config.seed] = _train(planned, out / planned.name, dataset, place)
    if not cold:  # the seeds share their users, and baselines have no seed
        split_by_seed = {seeds[0]: dataset}
    models = [*_baselines(split_by_seed, config.evaluation), *_rungs(plan, out)]
    record = ablation_record(split_by_seed[seeds[0]], models)
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


def _train(planned: PlannedRun, path: Path, dataset: FederatedDataset, place: str) -> FederatedDataset:
    """Train one run to its end and test it, unless that is done; the data with its cold users."""
    with closing(open_run(planned.config, dataset, path, resume=True)) as run:
        notes.print(f"{place}{': finished already' if run.server.finished else ''}")
        if not run.server.finished:
            train_to_end(run, again="the same command", label=f"{place}, round")
        if not run.record.finished:
            run.finish()
        return run.snapshot.dataset


def _baselines(split_by_seed: Mapping[int, FederatedDataset], config: EvaluationConfig) -> list[Record]:
    runs: dict[str, list[Record]] = {}
    for seed, dataset in split_by_seed.items():
        scorers = baseline_scorers(dataset)
        tables = {s: full_tables(dataset, scorers, s, config, with_chance=True) for s in SPLITS}
        for name in tables["test"]:
            metrics: Record = {split: tables[split][name].to_dict()["metrics"] for split in SPLITS}
            runs.setdefault(name, []).append({"seed": seed, **metrics})
    return [{"name": name, "runs": found} for name, found in runs.items()]


def _rungs(plan: Sequence[PlannedRun], out: Path) -> list[Record]:
    runs: dict[Rung, list[Record]] = {}
    for planned in plan:
        runs.setdefault(planned.rung, []).append(run_result(out / planned.name))
    return [model for rung, found in runs.items() for model in rung_models(rung, found)]
