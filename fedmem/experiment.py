"""One training run from its snapshot: rounds with checkpoints, the best model tested once at the end."""

import logging
import math
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedmem.checkpoint import DirectoryRecorder, Recorder, RunDirectory, RunRecord, Snapshot
from fedmem.config import ExperimentConfig
from fedmem.continuation import CarriedState
from fedmem.errors import CheckpointError, TrainingError
from fedmem.evaluation.metric_table import MetricTable
from fedmem.federated.postprocessing import Postprocessors
from fedmem.federated.round import Watch, unwatched
from fedmem.federated.server import FedMemServer
from fedmem.federated.simulation import SimulatedPopulation
from fedmem.federated.start import build_model, initial_state, transition_release
from fedmem.federated.state import RoundReport
from fedmem.interruption import heeding
from fedmem.memory.count_sketch import check_stored
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.nodes.courier import Courier
from fedmem.nodes.flower_courier import FlowerCourier
from fedmem.nodes.population import NodePopulation
from fedmem.nodes.roster import FILE
from fedmem.nodes.setup import setup_letter
from fedmem.privacy.startable import check_startable
from fedmem.resumable import check_resumable
from fedmem.training_warnings import training_warnings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TestResult:
    """The one evaluation on test.

    Attributes:
        table: what was measured.
        round: the round of the model.
        without_transitions: the same model's table without the transition memory, if the score has some.
        strength: the weight of the transition memory.
    """

    table: MetricTable
    round: int
    without_transitions: MetricTable | None = None
    strength: float = 0.0


class _Stopped(Exception):
    """Raised within a round to end it."""


class TrainingRun:
    """Runs the rounds of one directory; stopping anywhere and resuming gives the same numbers.

    Use ``start`` or ``resume`` to make one.
    """

    def __init__(
        self,
        directory: RunDirectory,
        snapshot: Snapshot,
        *,
        recorder: Recorder | None = None,
        postprocessors: Postprocessors = (),
        courier: Courier | None = None,
    ) -> None:
        _check_postprocessors(snapshot, postprocessors)
        config = snapshot.config
        self.directory = directory
        self.snapshot = snapshot
        model = build_model(config, snapshot.dataset.num_items, snapshot.features)
        directory.prepare()
        self.population = _population(directory, snapshot, model, courier)
        state = initial_state(config, model, snapshot.features)
        clients = self.population.evaluating()
        release = transition_release(config, snapshot.features)
        self.server = FedMemServer(config, clients, self.population, state, postprocessors, release)
        self._warned: set[str] = set()
        self._unvalidated = False
        # Nodes remember the last rounds alone, so that a run on nodes is taken up at its last round or not at all.
        save_interval = config.save_interval if config.clients_here else 1
        self.recorder: Recorder = recorder or DirectoryRecorder(directory, save_interval)

    @classmethod
    def start(
        cls, path: Path, snapshot: Snapshot, postprocessors: Postprocessors = (), courier: Courier | None = None
    ) -> "TrainingRun":
        """Start a new run in a directory that holds none.

        Raises:
            CheckpointError: if there is a run already.
            ConfigError: if none may begin with this configuration.
        """
        directory = RunDirectory(path)
        directory.refuse_if_taken()
        check_startable(snapshot.config)
        snapshot = replace(snapshot, postprocessors=_written(postprocessors))
        # Before anything is written: its device may be missing.
        run = cls(directory, snapshot, postprocessors=postprocessors, courier=courier)
        directory.write_snapshot(snapshot)
        return run

    @classmethod
    def resume(
        cls,
        path: Path,
        config: ExperimentConfig,
        postprocessors: Postprocessors = (),
        courier: Courier | None = None,
    ) -> "TrainingRun":
        """Continue a run from its last checkpoint, or from its beginning where it has none.

        Of postprocessors only how they are written is stored: a run that had some is given the same again.

        Raises:
            CheckpointError: if the configuration differs in anything that changes numbers, or the postprocessors do.
        """
        directory = RunDirectory(path)
        snapshot = replace(directory.read_snapshot(), config=config)
        check_resumable(directory.read_config(), config)
        run = cls(directory, snapshot, postprocessors=postprocessors, courier=courier)
        directory.write_manifest(snapshot)
        if (path / "run.json").exists():
            run.recorder.record = directory.read_record()
            run.restore(run.record.last)
        return run

    @property
    def record(self) -> RunRecord:
        """What is on disk."""
        return self.recorder.record

    def take_up(self, carried: CarriedState) -> None:
        """Stand where a run on older data stood; the first report of ``rounds`` is its validation on this data."""
        self.server.state, self._unvalidated = carried.state, True
        self.population.restore_memories(carried.memories, carried.state.round, carried.handed_on)

    def rounds(self, stop: Callable[[], bool] = lambda: False, watch: Watch = unwatched) -> Iterator[RoundReport]:
        """Train until finished, or until ``stop()`` is true; the rounds that are done are then on disk.

        ``stop`` is asked again and again, within a chunk of clients too, and abandons the round in progress. After
        every chunk ``watch(trained, selected)`` is told how many of the round's clients are done.
        """

        def go_on() -> None:
            if stop():
                raise _Stopped

        def after_chunk(trained: int, selected: int) -> None:
            watch(trained, selected)
            go_on()

        self.recorder.begin()
        while self._unvalidated or not self.server.finished:
            try:
                with heeding(go_on):
                    report = self._validated(go_on) if self._unvalidated else self.server.run_round(after_chunk)
            except (_Stopped, TrainingError) as ended:
                self.recorder.flush(self.server.state, self.population)
                if isinstance(ended, _Stopped) or stop():  # who asks to stop may have ended the workers too
                    return
                raise
            self._check_finite(report)
            self.recorder.put(report, self.server.state, self.population)
            self._warn(report)
            stopping = self.server.finished or stop()
            if stopping:
                self.recorder.flush(self.server.state, self.population)
            yield report
            if stopping:
                return

    def _validated(self, go_on: Callable[[], None]) -> RoundReport:
        report = self.server.validate(go_on)
        self._unvalidated = False
        return report

    def finish(self, after_group: Callable[[], None] = lambda: None) -> TestResult:
        """Restore the best model with the memories of its round, evaluate it once on test, and write the result.

        ``after_group`` is called after every group of clients; what it raises ends the evaluation.
        """
        if self.record.best:
            self.restore(self.record.best)
        with heeding(after_group):
            tables = self.server.evaluate_with_and_without_transitions("test", after_group)
        strength = self.server.state.strength
        result = TestResult(tables[strength], self.server.state.round, tables[0.0] if strength else None, strength)
        self.recorder.finish(result.table, result.without_transitions)
        return result

    def close(self) -> None:
        """End the worker processes and remove the working files; what is on disk stays."""
        self.population.close()

    def _check_finite(self, report: RoundReport) -> None:
        loss = report.metrics.get("recommendation_loss", 0.0)  # of a round that drew no client there is none
        parameters = self.server.state.parameters.values()
        if not (math.isfinite(loss) and all(np.isfinite(values).all() for values in parameters)):
            raise TrainingError(
                f"training diverged in round {report.round} (loss {loss}). Lower federated.server_learning_rate or "
                f"training.learning_rate; the checkpoint of round {self.record.last} is intact."
            )

    def _warn(self, report: RoundReport) -> None:
        """Warn of each trouble once."""
        found = training_warnings(self.snapshot.config, report.round, self.server.state.best_round, report.metrics)
        for name, text in found.items():
            if name not in self._warned:
                logger.warning("%s", text)
        self._warned |= found.keys()

    def restore(self, round_number: int) -> None:
        """Stand where the run stood after a round whose checkpoint is there.

        Raises:
            CheckpointError: if it cannot be read, or holds transitions in another form than clients hand on.
        """
        checkpoints = self.directory.checkpoints
        state = checkpoints.read_server(round_number)
        if state.transitions is not None:
            folder = checkpoints.folder_of(round_number)
            check_stored(state.transitions, self.snapshot.config.transitions, str(folder))
        self.server.state = state
        memories, handed_on = checkpoints.read_memories(round_number), checkpoints.read_handed_on(round_number)
        self.population.restore_memories(memories, round_number, handed_on)


def _population(
    directory: RunDirectory, snapshot: Snapshot, model: UR4RecV2MoE, courier: Courier | None
) -> SimulatedPopulation | NodePopulation:
    """Reach the clients: simulated here, or on nodes, by Flower unless another courier is given."""
    config = snapshot.config
    if config.clients_here:
        users = snapshot.dataset, snapshot.features, snapshot.user_features
        return SimulatedPopulation(config, *users, model, scratch=directory.path)
    setup = setup_letter(config, snapshot.dataset.catalogue(), snapshot.features)
    return NodePopulation.assembled(config, setup, courier or FlowerCourier.from_environment(), directory.path / FILE)


def _written(postprocessors: Postprocessors) -> tuple[str, ...]:
    return tuple(repr(each) for each in postprocessors)


def _check_postprocessors(snapshot: Snapshot, given: Postprocessors) -> None:
    """Refuse to continue a run without what was done to its clients' updates, or with something else."""
    if snapshot.postprocessors != _written(given):
        before, now = (", ".join(names) or "none" for names in (snapshot.postprocessors, _written(given)))
        raise CheckpointError(
            f"the run's clients are postprocessed by {before}, and now by {now}: resume it from Python with the same, "
            "TrainingRun.resume(.., postprocessors=[..]), or choose another --out."
        )


def peak_memory_mib() -> float:
    """Measure the most memory that this process has held, in MiB."""
    units = 2**20 if sys.platform == "darwin" else 2**10  # getrusage counts bytes on macOS and KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units
