"""``fedmem train``: the rounds on the screen, and what came of them."""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import AsJson, ConfigFile, DataPath, Overrides, Workers, with_workers
from cli.reading import Reading, with_reading
from cli.screen import answer_json, answers, notes, rounds, stages
from fedmem.errors import CheckpointError

if TYPE_CHECKING:
    from fedmem.checkpoint import RunDirectory
    from fedmem.config import ExperimentConfig
    from fedmem.data.federated_dataset import FederatedDataset
    from fedmem.experiment import TrainingRun
    from fedmem.federated.state import RoundReport

LOG = logging.getLogger(__name__)


@with_reading
def train(
    data: DataPath,
    config: ConfigFile = None,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the run is written; default save_dir.")] = None,
    *,
    reading: Reading,
    workers: Workers = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in DIR, if there is one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train one model. Ctrl-C stops; --resume continues with the same numbers."""
    from fedmem.config_reader import load_config
    from fedmem.data.formats import load_dataset

    loaded = load_config(config, with_workers(overrides, workers))
    dataset = load_dataset(data, min_sequence_length=loaded.data.min_sequence_length, **reading.arguments())
    run_training(loaded, dataset, out or Path(loaded.save_dir), resume=resume, as_json=as_json)


def run_training(
    config: "ExperimentConfig", dataset: "FederatedDataset", out: Path, *, resume: bool, as_json: bool
) -> None:
    """Start or resume the run in ``out`` and train it to its end, or to Ctrl-C."""
    from fedmem.privacy.cost import before_start

    if not config.clients_here:
        dataset = dataset.configured(config.data).catalogue()
        least = config.flower.minimum_nodes
        notes.print(f"{dataset.num_items:,} items; the clients are at the nodes, of which {least:,} have to come")
    else:
        notes.print(f"{len(dataset.trainable_users):,} of {dataset.num_users:,} users train, each as a client")
    with closing(open_run(config, dataset, out, resume=resume)) as run:
        for sentence in before_start(config):
            notes.print(sentence)
        _train_and_conclude(run, as_json=as_json)


def _train_and_conclude(run: "TrainingRun", *, as_json: bool) -> None:
    began, done = time.monotonic(), run.server.state.round
    if run.server.finished:
        notes.print(f"finished already, after {done} rounds: nothing to train")
    train_to_end(run, again="--resume")
    _conclude(run, time.monotonic() - began, run.server.state.round - done, as_json=as_json)


def open_run(config: "ExperimentConfig", dataset: "FederatedDataset", out: Path, *, resume: bool) -> "TrainingRun":
    """Start the run in ``out`` or, if asked and there is one, resume it."""
    from fedmem.checkpoint import RunDirectory
    from fedmem.experiment import TrainingRun
    from fedmem.snapshot import take_snapshot

    directory = RunDirectory(out)
    if resume and directory.exists:
        refuse_other_data(directory, dataset)
        return TrainingRun.resume(out, config)
    directory.refuse_if_taken()
    with stages() as progress:
        snapshot = take_snapshot(config, dataset, progress)
    return TrainingRun.start(out, snapshot)


def refuse_other_data(directory: "RunDirectory", dataset: "FederatedDataset") -> None:
    """Raise ``CheckpointError`` if the run was started on other data."""
    if directory.read_manifest()["dataset"]["digest"] != dataset.digest:
        raise CheckpointError(
            f"{directory.path}: the run was started on other data. Give the same --data, or another --out."
        )


def train_to_end(run: "TrainingRun", *, again: str, label: str = "round") -> None:
    """Train what is left of a run; after Ctrl-C say that ``again`` continues it, and exit with 130."""
    try:
        with stop_on_interrupt() as stopping:
            _train(run, stopping, label)
    except KeyboardInterrupt:
        notes.print(f"stopped at once; {again} continues from round {run.record.last}")
        sys.exit(130)
    if not run.server.finished:
        notes.print(f"stopped after round {run.server.state.round}; continue with {again}")
        sys.exit(130)


def _train(run: "TrainingRun", stopping: list[bool], label: str) -> None:
    config = run.snapshot.config
    latest = line = ""
    unsent = "loss not sent" if config.noises_metrics else "no client drawn"
    with rounds(config.federated.num_rounds, run.server.state.round) as advance:

        def watch(trained: int, selected: int) -> None:
            advance(run.server.state.round, f"{line}  {trained:,}/{selected:,} clients")

        for report in run.rounds(lambda: bool(stopping), watch):
            latest = _validation(report) or latest
            loss = report.metrics.get("recommendation_loss")
            line = f"{unsent if loss is None else f'loss {loss:.3f}'}  {latest}"
            advance(report.round, line)
            if not notes.is_terminal and report.round % config.log_interval == 0:
                notes.print(f"{label} {report.round}/{config.federated.num_rounds}  {line}")


def _validation(report: "RoundReport") -> str:
    table = report.validation
    if table is None:
        return ""
    best = " (best)" if report.is_best else ""
    parts = [f"{name} {table.mean(name):.4f}" for name in ("HR@10", "NDCG@10") if name in table.values]
    return f"validation {'  '.join(parts)}{best}"


def _conclude(run: "TrainingRun", seconds: float, trained: int, *, as_json: bool) -> None:
    from fedmem.evaluation.report import as_rich
    from fedmem.experiment import peak_memory_mib
    from fedmem.federated.transition_release import unreleased

    state = run.server.state
    result = run.finish()
    summary = {
        "rounds": state.round,
        "best_round": result.round,
        "rounds_per_minute": round(60 * trained / seconds, 2) if trained else None,
        "peak_memory_mib": round(peak_memory_mib()),
        "test": result.table.to_dict(),
        "directory": str(run.directory.path),
    }
    if as_json:
        answer_json(summary)
        return
    answers.print(as_rich({"model": result.table}, f"test, model of round {result.round}", answers.width))
    speed = f"{summary['rounds_per_minute']} rounds/minute, " if trained else ""
    if state.round < run.snapshot.config.federated.num_rounds and state.stale >= run.snapshot.config.federated.patience:
        watched = run.snapshot.config.evaluation.stopping_metric
        notes.print(f"stopped early: {state.stale} evaluations without a better validation {watched}")
    if without := unreleased(run.snapshot.config, state):
        notes.print(without)
    if run.server.budget and run.server.budget_spent:
        spent = " and ".join(f"{each:.3g}" for each in run.server.budget.spent(state.round).values() if each)
        notes.print(f"{run.server.budget.settings} used up: spent {spent}")
    notes.print(f"{state.round} rounds, {speed}peak memory {summary['peak_memory_mib']} MiB, run in {out_hint(run)}")


def out_hint(run: "TrainingRun") -> str:
    """Say where the run is and what to do next."""
    path = run.directory.path
    return f"{path}; next: fedmem evaluate {path}, fedmem recommend {path} --user ID"


@contextmanager
def stop_on_interrupt() -> Iterator[list[bool]]:
    """Let the first Ctrl-C, SIGTERM or closed terminal end the run after its present chunk; interrupt on the second."""
    asked: list[bool] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        LOG.info("stopping; once more to stop at once")

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
