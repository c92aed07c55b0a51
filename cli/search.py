"""The trials of a search, one by one, and what came of them."""

import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from optuna.trial import Trial
from rich.table import Table
from yaml import safe_dump

from cli.comparison import baseline_scorers, full_tables
from cli.screen import answer_json, answers, counted, notes
from cli.training import open_run, stop_on_interrupt
from fedmem.checkpoint.atomic_files import write_bytes, write_json
from fedmem.config import DataConfig, EvaluationConfig, ExperimentConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import ConfigError, TrainingError
from fedmem.experiment import TrainingRun
from fedmem.tuning.search_space import UNMOVED, SearchSpace
from fedmem.tuning.study import Record, TuningStudy, locked

Ending = Literal["complete", "pruned", "stopped"]
INTERRUPTED = 130


def run_search(
    space: SearchSpace, dataset: FederatedDataset, out: Path, trials: int, minutes: float | None, *, as_json: bool
) -> None:
    """Try configurations until there are ``trials`` of them or the time is up, then print the best."""
    deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    with locked(out):
        study = TuningStudy(out, space, dataset)
        study.plan(trials, lambda: _baselines(space.base.data, space.base.evaluation, dataset, study.metric))
        _write(study)
        with stop_on_interrupt() as stopping:
            try:
                _search(study, trials, lambda: bool(stopping) or time.monotonic() > deadline)
            except KeyboardInterrupt:
                stopping.append(True)
        _conclude(study, as_json=as_json)
        if len(study.ended) < trials and study.configurations < space.count:
            notes.print("stopped; the same command continues")
    if stopping:
        sys.exit(INTERRUPTED)


def _search(study: TuningStudy, trials: int, stop: Callable[[], bool]) -> None:
    while len(study.ended) < trials and not stop():
        trial = study.next_trial()
        if trial is None:
            notes.print(f"all {study.configurations} configurations of the space were tried")
            return
        before = study.tried_before(trial.params)
        if before is not None:
            notes.print(f"trial {trial.number} is trial {before.number} again")
            study.end_as(trial, before)
        elif not _try(study, trial, trials, stop):
            return
        _keep_the_best(study)


def _try(study: TuningStudy, trial: Trial, trials: int, stop: Callable[[], bool]) -> bool:
    """Train one trial; False if it was stopped before its end."""
    shown = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in trial.params.items())
    notes.print(f"trial {trial.number} (of {trials}): {shown}")
    try:
        config = study.space.config(trial.params)
        with closing(open_run(config, study.dataset, _folder(study, trial.number), resume=True)) as run:
            ending = _train(run, study, trial, stop)
    except (ConfigError, TrainingError) as error:
        notes.print(f"trial {trial.number} failed: {error}")
        study.end(trial, str(error))
        return True
    if ending == "stopped":
        return False
    study.end(trial, pruned=ending == "pruned")
    reached = max(study.reported(trial).values(), default=float("nan"))
    notes.print(f"trial {trial.number}: {ending}, validation {study.metric} {reached:.4f}")
    return True


def _train(run: TrainingRun, study: TuningStudy, trial: Trial, stop: Callable[[], bool]) -> Ending:
    """Train and report every validation, those of before an interruption first, until the trial is pruned or ends."""
    if study.reported(trial) and trial.should_prune():
        return "pruned"
    reports = run.rounds(stop)
    new = ((each.round, each.validation.mean(study.metric)) for each in reports if each.validation is not None)
    for round_number, value in chain(_validated(run, study.metric), new):
        step = round_number // run.snapshot.config.evaluation.eval_every
        if step not in study.reported(trial):
            trial.report(value, step)
            if trial.should_prune():
                return "pruned"
    return "complete" if run.server.finished else "stopped"


def _validated(run: TrainingRun, metric: str) -> list[tuple[int, float]]:
    """List round and metric of the validations up to the checkpoint that the run goes on from."""
    lines = run.directory.read_metrics() if run.server.state.round else ()
    return [(line["round"], line["validation"][metric]["mean"]) for line in lines if "validation" in line]


def _folder(study: TuningStudy, number: int) -> Path:
    return study.folder / f"trial-{number:04d}"


def _baselines(
    data: DataConfig, evaluation: EvaluationConfig, dataset: FederatedDataset, metric: str
) -> dict[str, float]:
    """Measure on validation what every trial has to beat; nothing where users are kept out."""
    if data.cold_user_fraction:
        return {}
    whole = dataset.configured(data)
    tables = full_tables(whole, baseline_scorers(whole), "validation", evaluation, with_chance=False)
    return {name: table.mean(metric) for name, table in tables.items()}


def _write(study: TuningStudy) -> None:
    write_json(study.folder / "study.json", study.record())


def _keep_the_best(study: TuningStudy) -> None:
    """Write what is known so far, and remove the runs that are neither the best nor under way."""
    _write(study)
    best = study.best
    for trial in study.ended:
        if best is None or trial.number != best.number:
            shutil.rmtree(_folder(study, trial.number), ignore_errors=True)
    config = study.best_config()
    if best is not None and config is not None:
        write_bytes(study.folder / "best.yaml", best_yaml(study, config).encode())


def best_yaml(study: TuningStudy, config: ExperimentConfig) -> str:
    """Write what differs from the defaults, for ``fedmem train --config``."""
    best, defaults = study.best, ExperimentConfig().settings()
    assert best is not None, "there is a best trial"
    tree: dict[str, Any] = {}
    for name, value in config.settings().items():
        section, _, leaf = name.rpartition(".")
        if value == defaults[name] or name in UNMOVED:
            continue
        if section:
            tree.setdefault(section, {})[leaf] = value
        else:
            tree[leaf] = value
    head = (
        f"# Trial {best.number}, validation {study.metric} {best.value:.4f}, the best of "
        f"{counted(study.configurations, 'configuration')} tried on {study.dataset.name} ({study.dataset.digest[:12]})."
    )
    return f"{head}\n{safe_dump(tree, sort_keys=False, default_flow_style=None)}"


def _conclude(study: TuningStudy, *, as_json: bool) -> None:
    config, record = study.best_config(), study.record()
    if as_json:
        answer_json(record | {"config": None if config is None else config.model_dump(mode="json")})
        return
    if record["trials"]:
        notes.print(trials_table(record))
    if config is None:
        notes.print("no trial has come to its end yet")
        return
    answers.print(best_yaml(study, config), end="")
    notes.print(f"in {study.folder / 'best.yaml'}; next: fedmem train --config {study.folder / 'best.yaml'}")


def trials_table(record: Record) -> Table:
    """Render the trials, best first."""
    names = list(record["space"])
    table = Table(title=f"{counted(record['configurations'], 'configuration')} tried", title_justify="left")
    for column in ("trial", "state", record["metric"], *(name.rpartition(".")[2] for name in names)):
        table.add_column(column, justify="right")
    for trial in sorted(record["trials"], key=lambda one: -(one["value"] or 0)):
        value = "" if trial["value"] is None else f"{trial['value']:.4f}"
        params = (
            f"{trial['params'].get(name, ''):.4g}"
            if isinstance(trial["params"].get(name), float)
            else str(trial["params"].get(name, ""))
            for name in names
        )
        table.add_row(str(trial["number"]), trial["state"], value, *params)
    return table
