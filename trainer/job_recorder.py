"""JobRecorder: every round of a job as a checkpoint on disk, named in the transaction that stores its metrics."""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from fedmem.checkpoint import RememberingClients, RunDirectory, RunRecord, Snapshot
from fedmem.contracts.jobs import Split
from fedmem.evaluation.metric_table import MetricTable
from fedmem.experiment import peak_memory_mib
from fedmem.federated.messages import ITEM_ROWS
from fedmem.federated.start import item_blocks
from fedmem.federated.state import RoundReport, ServerState
from fedmem.memory.prototype_map import PrototypeMap, describe
from fedmem.memory.prototypes import FloatArray, Prototypes
from fedmem.modality import Modality
from fedmem.storage.jobs import JobRow, JobStore, Lease, RoundResult, StoredPrototypes
from trainer.control import Control

LONGEST_CHAIN = 50  # checkpoints that build on each other, at most


class JobRecorder:
    """A ``Recorder`` that commits every round, in a thread of its own while the next round trains.

    One round is written at a time, and the next but one waits for it: clients keep the memories of two rounds. Those at
    nodes can go back by one round, so that there the next one waits. What goes wrong is raised by the call that comes
    next.

    Args:
        jobs: where rounds are committed.
        job: the job as it was claimed.
        lease: under which everything is written.
        control: asked before anything is written.
        directory: the job's run directory.
        snapshot: what the job trains on.
        keep_every: besides the best and the last, every n-th checkpoint is kept.
        before: the prototypes that were stored last, or None.
        publish: called with each checkpoint, before the database names it.
        committed: told of every round once it is committed.
    """

    def __init__(
        self,
        jobs: JobStore,
        job: JobRow,
        lease: Lease,
        control: Control,
        directory: RunDirectory,
        snapshot: Snapshot,
        *,
        keep_every: int,
        before: bytes | None,
        publish: Callable[[], None],
        committed: Callable[[RoundReport], None],
    ) -> None:
        self._jobs, self._lease, self._control, self._directory = jobs, lease, control, directory
        self._whole_every = min(snapshot.config.save_interval, LONGEST_CHAIN)
        self._beside_training = snapshot.config.clients_here
        self._keep_every, self._publish, self._committed = keep_every, publish, committed
        self._describer = PrototypeDescriber(directory, snapshot, before)
        self.record = RunRecord(last=job.round, best=job.best_round or job.round)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def begin(self) -> None:
        """See ``Recorder``."""

    def put(self, report: RoundReport, state: ServerState, clients: RememberingClients) -> None:
        """See ``Recorder``."""
        self._wait()
        self._pending = self._writer.submit(
            copy_context().run, self._write, report, state, clients
        )  # log lines name the job
        if not self._beside_training:
            self._wait()

    def flush(self, state: ServerState, clients: RememberingClients) -> None:
        """See ``Recorder``."""
        self._wait()

    def finish(self, test: MetricTable, without_transitions: MetricTable | None = None) -> None:
        """See ``Recorder``; the result is written with the job's end, by the caller."""

    def close(self) -> None:
        """Wait for the round that is being written, however it ends."""
        self._writer.shutdown()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _write(self, report: RoundReport, state: ServerState, clients: RememberingClients) -> None:
        """Write the checkpoint first, then its name with the metrics in one transaction."""
        self._control.check()
        began = time.perf_counter()
        whole = report.is_best or report.round % self._whole_every == 0 or report.round == 1
        memories = clients.memories(report.round) if whole else clients.changed_memories(report.round)
        base, handed_on = None if whole else report.round - 1, clients.handed_on(report.round)
        checkpoint = self._directory.checkpoints.write(state, memories, base, handed_on)
        self._directory.checkpoints.note_first_rounds(report.round, handed_on)
        seconds = {**report.seconds, "write": time.perf_counter() - began}
        result = self._result(report, state, checkpoint, seconds)
        self._publish()
        self._control.patiently(lambda: self._jobs.commit_round(self._lease, result))
        self.record = RunRecord(last=report.round, best=state.best_round or report.round)
        if whole:
            self._remove_old()
        self._committed(report)

    def _result(
        self, report: RoundReport, state: ServerState, checkpoint: str, seconds: Mapping[str, float]
    ) -> RoundResult:
        metrics: dict[Split, Mapping[str, float]] = {"train": report.metrics, "system": system_metrics(seconds)}
        prototypes = None
        if report.validation is not None:
            metrics["validation"] = with_and_without(report.validation, report.without_transitions)
            if state.global_memory is not None:
                prototypes = self._describer.stored(state, state.global_memory)
        return RoundResult(report.round, report.is_best, checkpoint, metrics, prototypes)

    def _remove_old(self) -> None:
        """Remove old checkpoints, from the database first, so that it never names a missing one."""
        there = self._directory.checkpoints.rounds()
        wanted = {self.record.last, self.record.best, *(n for n in there if n % self._keep_every == 0)}
        unneeded = set(there) - self._directory.checkpoints.needed(wanted)
        forgotten = self._control.patiently(  # none that a model needs
            lambda: self._jobs.forget_checkpoints(self._lease, sorted(unneeded))
        )
        self._control.check()
        self._directory.checkpoints.remove(forgotten)


class PrototypeDescriber:
    """The global abstract memory of each evaluated round, on the one map of the job.

    The map is kept in the job's directory. Where clusters are made of id embeddings, which move in training, it is that
    of the first evaluated round.

    Args:
        directory: the job's run directory.
        snapshot: what the job trains on.
        before: the prototypes that were stored last, as ``StoredPrototypes.arrays``, or None.
    """

    def __init__(self, directory: RunDirectory, snapshot: Snapshot, before: bytes | None) -> None:
        self._directory = directory
        self._blocks = item_blocks(snapshot.features)
        self._before = None if before is None else prototypes_of(before)

    def stored(self, state: ServerState, prototypes: Prototypes) -> StoredPrototypes:
        """Convert to what the database keeps."""
        vectors, mask = self._items(state, prototypes.clustering_block)
        on = self._directory.read_map() or self._new_map(prototypes.clustering_block, vectors, mask)
        description = describe(prototypes, self._before, on, vectors, mask)
        self._before = prototypes
        return StoredPrototypes(bytes_of(prototypes), description)

    def _items(self, state: ServerState, block: Modality) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Return the items in the clustering block [I, D_block], and a mask of those that have it [I]."""
        if block is not Modality.SEQUENTIAL:
            return self._blocks.vectors[block][1:], self._blocks.masks[block][1:]
        ids = np.asarray(state.averaged[ITEM_ROWS], np.float32)[1:]
        return ids, np.ones(len(ids), bool)

    def _new_map(self, block: Modality, vectors: FloatArray, mask: npt.NDArray[np.bool_]) -> PrototypeMap:
        made = PrototypeMap.of(block, vectors, mask)
        self._directory.write_map(made)
        return made


def bytes_of(prototypes: Prototypes) -> bytes:
    """Write prototypes as safetensors."""
    return save({name: np.ascontiguousarray(values) for name, values in prototypes.to_arrays().items()})


def prototypes_of(arrays: bytes) -> Prototypes:
    """Read what ``bytes_of`` has written."""
    return Prototypes.from_arrays(load(arrays))


def table_metrics(table: MetricTable) -> dict[str, float]:
    """Return means by name, standard errors as ``<name>_se`` if defined, and the number of users."""
    means = {name: mean for name, (mean, _) in table.values.items()}
    errors = {f"{name}_se": error for name, (_, error) in table.values.items() if not math.isnan(error)}
    return means | errors | {"users": float(table.num_users)}


def with_and_without(table: MetricTable, without_transitions: MetricTable | None) -> dict[str, float]:
    """Return the metrics of a table and, as ``without_transitions_<name>``, those of the same model without them."""
    without = {} if without_transitions is None else table_metrics(without_transitions)
    return table_metrics(table) | {f"without_transitions_{name}": value for name, value in without.items()}


def system_metrics(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return what differs from run to run: seconds by phase, and the peak of this process's memory."""
    return {f"seconds_{phase}": value for phase, value in seconds.items()} | {"peak_memory_mib": peak_memory_mib()}
