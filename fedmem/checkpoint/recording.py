"""How the rounds of a run are put down, and where it stands when it is taken up again."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from fedmem.checkpoint.checkpoints import Lengths, Memories
from fedmem.checkpoint.run_directory import RunDirectory, RunRecord
from fedmem.evaluation.metric_table import MetricTable
from fedmem.federated.state import RoundReport, ServerState


class RememberingClients(Protocol):
    """Whose memories a checkpoint holds."""

    def memories(self, round_number: int) -> Iterator[Memories]:
        """Iterate over what every client remembers after a round, some clients at a time."""
        ...

    def changed_memories(self, round_number: int) -> Iterator[Memories]:
        """Iterate over the memories of the clients that the round has changed."""
        ...

    def handed_on(self, round_number: int) -> Lengths | None:
        """Tell how many interactions each user [U] had handed on to the transition memory after a round, if any is."""
        ...


class Recorder(Protocol):
    """Puts rounds down. What ``record`` names is on disk, whole; a round after it may be lost, and is trained again."""

    record: RunRecord

    def begin(self) -> None:
        """Note that training begins or goes on from here."""
        ...

    def put(self, report: RoundReport, state: ServerState, clients: RememberingClients) -> None:
        """Record a finished round."""
        ...

    def flush(self, state: ServerState, clients: RememberingClients) -> None:
        """Record what is not recorded yet, because no round follows for now."""
        ...

    def finish(self, test: MetricTable, without_transitions: MetricTable | None = None) -> None:
        """Record the best model's test result, and that of the same model without the transition memory."""
        ...


class DirectoryRecorder:
    """Checkpoints every ``save_interval`` rounds and at the best ones, named by the directory's own ``run.json``."""

    def __init__(self, directory: RunDirectory, save_interval: int, record: RunRecord | None = None) -> None:
        self.directory = directory
        self.save_interval = save_interval
        self.record = record or RunRecord(last=0, best=0)
        self._unsaved: list[RoundReport] = []
        self._began = time.monotonic()

    def begin(self) -> None:
        """See ``Recorder``; time counts from here."""
        self._began = time.monotonic() - self.record.seconds

    def put(self, report: RoundReport, state: ServerState, clients: RememberingClients) -> None:
        """See ``Recorder``."""
        self._unsaved.append(report)
        self.directory.checkpoints.note_first_rounds(report.round, clients.handed_on(report.round))
        if report.is_best or report.round % self.save_interval == 0:
            self.flush(state, clients)

    def flush(self, state: ServerState, clients: RememberingClients) -> None:
        """See ``Recorder``."""
        if not self._unsaved:
            return
        seconds = round(time.monotonic() - self._began, 1)
        self.record = RunRecord(last=state.round, best=state.best_round or state.round, seconds=seconds)
        held = clients.memories(state.round), self._unsaved, self.record, clients.handed_on(state.round)
        self.directory.write_checkpoint(state, *held)
        self._unsaved = []

    def finish(self, test: MetricTable, without_transitions: MetricTable | None = None) -> None:
        """See ``Recorder``."""
        without = None if without_transitions is None else without_transitions.to_dict()
        self.record = replace(self.record, finished=True, test=test.to_dict(), test_without_transitions=without)
        self.directory.write_record(self.record)
