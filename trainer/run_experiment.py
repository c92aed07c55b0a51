"""One job from its claim to its end: the snapshot of its data, its rounds, and what it leaves behind."""

import logging
import math
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from fedmem.checkpoint import RunDirectory, RunRecord, Snapshot
from fedmem.config import ExperimentConfig
from fedmem.config_reader import validate_config
from fedmem.contracts.memory import SHARE
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.trainable import require_trainable
from fedmem.errors import (
    OUT_OF_MEMORY,
    CheckpointError,
    ConfigError,
    DiskFullError,
    FedMemError,
    LeaseLostError,
    StorageError,
)
from fedmem.evaluation.baselines import EASE, ItemItemCounts, Popularity
from fedmem.evaluation.evaluate import Scorer, evaluate
from fedmem.experiment import TrainingRun, check_resumable
from fedmem.federated.state import RoundReport
from fedmem.interruption import heeding
from fedmem.serving import Recommender, erase_users, score_shares
from fedmem.snapshot import take_snapshot
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.job_room import require_memory
from fedmem.storage.jobs import JobRow, JobStore, Lease, RoundResult, Verdict
from fedmem.storage.metrics import MetricStore
from fedmem.storage.models import ModelStore, version_name
from trainer.control import Control
from trainer.dataset import load_dataset
from trainer.job_recorder import JobRecorder, table_metrics, with_and_without
from trainer.promotion import Gate
from trainer.room import Room
from trainer.settings import Settings
from trainer.stage_log import StageLog

logger = logging.getLogger(__name__)

T = TypeVar("T")

NO_MEMORY = "can't allocate memory"
LOOK = 0.2  # seconds from one look whether to go on to the next
EASE_ITEMS = 5_000  # of more, inverting the matrix would hold up the first round for over ten seconds


@dataclass(frozen=True)
class Stores:
    """The database, by what is kept in it."""

    jobs: JobStore
    metrics: MetricStore
    catalogue: CatalogueStore
    erasures: ErasureStore
    models: ModelStore


class _MissingFolder(Exception):
    """The folder of the job's checkpoints is not there: lost, or the trainer's folder is another's."""


class _Interrupted(Exception):
    """The user or the supervisor wants the job to end, or to wait."""


class JobRun:
    """Trains a claimed job until it ends, or until its user or the process's supervisor wants otherwise."""

    def __init__(self, stores: Stores, settings: Settings, job: JobRow, lease: Lease, control: Control) -> None:
        self.stores, self.settings, self.job, self.lease, self.control = stores, settings, job, lease, control
        self.directory = job_directory(settings, job.id)
        self._room = Room(self._go_on)

    def run(self) -> None:
        """Train; every outcome is written down, unless another trainer has the job or the database is away."""
        try:
            self._attempt()
        except LeaseLostError as error:
            logger.warning("%s; nothing more is written", error)
        except StorageError as error:
            logger.error("job %d is left to its lease's end, and then to the next trainer: %s", self.job.id, error)

    def _attempt(self) -> None:
        try:
            self._train_when_there_is_room()
        except _Interrupted:
            self._end_as_wished()
        except (LeaseLostError, StorageError):
            raise
        except _MissingFolder as missing:
            self._hold(str(missing))
        except FedMemError as error:
            self._fail(str(error))
        except MemoryError:
            self._fail(OUT_OF_MEMORY)
        except Exception as error:  # whatever it is, the service goes on with other jobs
            if NO_MEMORY in str(error):  # torch's way to say the same
                self._fail(OUT_OF_MEMORY)
                return
            logger.exception("job %d failed", self.job.id)
            self._fail(
                f"an unexpected error ended the job ({type(error).__name__}); its traceback is kept for the operator"
            )

    def _train_when_there_is_room(self) -> None:
        """Train; where the disk is full, wait until it takes what is to be written, and go on from the last round."""
        while True:
            reached = self.stores.jobs.get(self.job.id).round
            try:
                return self._train()
            except DiskFullError as error:
                self.job = self.stores.jobs.get(self.job.id)
                self._room.wait(error, progress=self.job.round > reached)

    def _train(self) -> None:
        config = validate_config(self.job.config, f"job {self.job.id}")
        require_memory(config, self.stores.catalogue.dataset(self.job.dataset), self.settings.job_memory)
        snapshot = self._snapshot(config)
        self._go_on()
        recorder = self._recorder(snapshot)
        self.control.check()
        with closing(TrainingRun(self.directory, snapshot, recorder=recorder)) as run, closing(recorder):
            if self.job.round:
                run.restore(self.job.round)
                logger.info("going on from round %d", self.job.round)
                self._refuse_to_add_nothing(run)
            for _ in run.rounds(self.control.stop, self.control.watch):
                pass
            if not run.server.finished:
                raise _Interrupted
            self._conclude(run)

    def _snapshot(self, config: ExperimentConfig) -> Snapshot:
        """Read what the job trains on: what an earlier attempt left, else a copy from the job it continues, or new."""
        self._erase_deleted()
        continues = self.job.start_from is not None and not self._recorded()
        if self.job.round > 0 and not self.directory.exists:
            raise _MissingFolder(
                f"job {self.job.id} has trained {self.job.round} rounds, but {self.directory.path} does not hold them: "
                "bring the folder back, or start the trainer with the FEDMEM_DATA_DIR of the one that trained them; "
                "then resume the job"
            )
        if continues and self.job.start_from is not None:
            self._take_over(config, self.job.start_from)
        elif not self.directory.exists:
            self._take(config)
        snapshot = self._aside(self.directory.read_snapshot)
        require_trainable(snapshot.dataset, f"the snapshot of job {self.job.id}")  # users may have been erased
        return snapshot

    def _erase_deleted(self) -> None:
        """Erase the users who were deleted since the job's files were written."""
        for erasure in self.stores.erasures.of_job(self.job.id):
            logger.info("%d deleted users are erased from the snapshot and the checkpoints", len(erasure.user_ids))
            for path in erase_users(self.directory.path, erasure.user_ids):
                logger.warning("%s was damaged, and may have held a deleted user: it is removed", path)
            self.stores.erasures.done(erasure)

    def _refuse_to_add_nothing(self, run: TrainingRun) -> None:
        """Refuse to continue a job that ended early: it would end at once, and serve the same model again."""
        if self.job.start_from is None or not run.server.finished:
            return
        parent = self.stores.jobs.get(self.job.start_from)
        if self.job.round == parent.round:
            patience = run.snapshot.config.federated.patience
            raise ConfigError(
                f"job {parent.id} ended early after round {parent.round}, and federated.patience = {patience} would "
                "stop this one at once: raise it"
            )

    def _recorded(self) -> bool:
        """Say whether any round is in the database, even if only the start."""
        return bool(self.stores.metrics.rounds(self.job.id, after_round=-1, limit=1))

    def _take(self, config: ExperimentConfig) -> None:
        """Take the data set as it is now, or as it was when the job first began."""
        logger.info("reading the data set %s", self.job.dataset)
        dataset, last = self._aside(
            lambda: load_dataset(
                self.stores.catalogue,
                self.job.dataset,
                min_sequence_length=config.data.min_sequence_length,
                until_id=self.job.last_interaction_id,
            )
        )
        self.stores.jobs.begin(self.lease, snapshot_digest=dataset.digest, last_interaction_id=last)
        if not self._recorded():
            start = self._aside(lambda: _start(dataset.configured(config.data)))
            self.stores.jobs.commit_round(self.lease, start)
        with heeding(self._go_on):
            snapshot = take_snapshot(config, dataset, StageLog(self._go_on))
        self._go_on()
        self.directory.write_snapshot(snapshot)

    def _take_over(self, config: ExperimentConfig, parent_id: int) -> None:
        """Copy the other job's data, last and best checkpoint, and its rounds."""
        parent, directory = self.stores.jobs.get(parent_id), job_directory(self.settings, parent_id)
        check_resumable(directory.read_config(), config)
        logger.info("continuing job %d after its round %d", parent_id, parent.round)
        self.control.check()
        pending = self.stores.erasures.of_job(parent_id)
        self.directory.copy_from(directory, config, [parent.round, parent.best_round or parent.round])
        for erasure in pending:  # which the copies may hold still
            erase_users(self.directory.path, erasure.user_ids)
        self.stores.jobs.inherit(self.lease, parent_id)  # names what is there by now
        self.job = self.stores.jobs.get(self.job.id)

    def _recorder(self, snapshot: Snapshot) -> JobRecorder:
        stored = self.stores.metrics.prototypes(self.job.id)
        return JobRecorder(
            self.stores.jobs,
            self.job,
            self.lease,
            self.control,
            self.directory,
            snapshot,
            keep_every=self.settings.keep_every,
            before=None if stored is None else stored.arrays,
            committed=self._say,
        )

    def _say(self, report: RoundReport) -> None:
        if report.validation is None:
            return
        loss, table = report.metrics.get("recommendation_loss", math.nan), report.validation
        best = ", the best so far" if report.is_best else ""
        means = table.mean("HR@10"), table.mean("NDCG@10")
        logger.info("round %d: loss %.3f, validation HR@10 %.4f, NDCG@10 %.4f%s", report.round, loss, *means, best)

    def _conclude(self, run: TrainingRun) -> None:
        """Test the best model, and put it into service if it is not worse than what serves."""
        last = run.server.state.round
        result = run.finish(self._go_on)
        logger.info("test HR@10 %.4f, model of round %d", result.table.mean("HR@10"), result.round)
        without = result.without_transitions
        record = RunRecord(last, result.round, finished=True, test=result.table.to_dict())
        if without is not None:
            record = replace(record, test_without_transitions=without.to_dict())
        self._leave_record(record)
        test = with_and_without(result.table, without) | self._shares(run.snapshot, result.round)
        verdict = self._verdict(run.snapshot, result.round)
        self.control.end()
        self.control.patiently(
            lambda: self.stores.jobs.finish(
                self.lease,
                "succeeded",
                message=self._why_finished(run, last),
                test=test,
                test_round=result.round,
                model_round=result.round,
                verdict=verdict,
            )
        )

    def _verdict(self, snapshot: Snapshot, round: int) -> Verdict:
        """Say whether the model of a round goes into service, and why."""
        if self.job.kind == "experiment":
            return Verdict(False)
        mode = self.job.promotion or self.settings.promotion
        if mode == "auto":
            return Verdict(True)
        found = Verdict(False, "promotion is manual") if mode == "manual" else self._compared(snapshot, round)
        version = version_name(self.job.id, round)
        if found.serve:
            logger.info("model %s goes into service: %s", version, found.reason)
        else:
            logger.warning(
                "model %s waits, ready: %s; POST /models/%s/activate serves it all the same",
                version,
                found.reason,
                version,
            )
        return found

    def _compared(self, snapshot: Snapshot, round: int) -> Verdict:
        """Compare with what serves; the job has ended well whatever goes wrong here, and its model then waits."""
        try:
            gate = Gate(self._newest(snapshot), self.directory.path.parent, snapshot.config.seed, self._go_on)
            return gate.judge(self.job.id, round, self.stores.models.active(self.job.dataset))
        except (_Interrupted, LeaseLostError, StorageError):
            raise
        except FedMemError as error:
            return Verdict(False, f"it could not be validated on the newest data: {error}")
        except Exception as error:
            logger.exception("the model of job %d could not be validated", self.job.id)
            return Verdict(False, f"it could not be validated on the newest data ({type(error).__name__})")

    def _newest(self, snapshot: Snapshot) -> FederatedDataset:
        """Read the data set as it is now; the job's own snapshot where nothing has come since."""
        config = snapshot.config.data
        newest, _ = self._aside(
            lambda: load_dataset(
                self.stores.catalogue, self.job.dataset, min_sequence_length=config.min_sequence_length
            )
        )
        return snapshot.dataset if newest.digest == snapshot.dataset.digest else newest.configured(config)

    def _shares(self, snapshot: Snapshot, round_number: int) -> dict[str, float]:
        """Take the scores of the tested model apart: ``share_<part>`` by name."""
        checkpoint = self.directory.checkpoints.read(round_number)
        shares = score_shares(Recommender.of(snapshot, checkpoint, f"round {round_number}"), self._go_on)
        return {f"{SHARE}{part}": share for part, share in shares.items()}

    def _leave_record(self, record: RunRecord) -> None:
        """Write the record that makes the job's folder a run for ``fedmem evaluate`` and the like."""
        self.control.check()
        self.directory.write_record(record)

    def _leave_record_if_possible(self, record: RunRecord) -> None:
        """Do the same for a job that is to end now, whatever its disk says: its checkpoints are whole without it."""
        try:
            self._leave_record(record)
        except CheckpointError as error:
            logger.warning("the job ends without a record for fedmem evaluate: %s", error)

    def _why_finished(self, run: TrainingRun, last: int) -> str:
        if last >= self.job.num_rounds:
            return f"all {last} rounds are done"
        config = run.snapshot.config
        if last and run.server.budget and last >= run.server.budget.rounds:
            return f"ended after round {last}: one more would spend more than privacy.weights_epsilon"
        patience = config.federated.patience
        return (
            f"ended early, because validation NDCG@10 had not improved in {patience} evaluations (federated.patience)"
        )

    def _aside(self, work: Callable[[], T]) -> T:
        """Do work that asks nothing in a thread of its own, which is left to itself where the job is to end."""
        with closing_without_waiting(ThreadPoolExecutor(1, thread_name_prefix="aside")) as thread:
            done = thread.submit(work)
            while not wait([done], LOOK).done:
                self._go_on()
            return done.result()

    def _go_on(self) -> None:
        """Raise where the job is to end or to wait; called between two pieces of work."""
        if self.control.stop():
            raise _Interrupted

    def _end_as_wished(self) -> None:
        """End the job as stopped with its best model so far, as paused, or back in the queue; the store logs which."""
        job = self.stores.jobs.get(self.job.id)
        wish = self.control.wish
        self.control.end()
        if wish != "stopped":
            self.control.patiently(lambda: self.stores.jobs.release(self.lease))
            return
        best = job.best_round or job.round
        if best:
            self._leave_record_if_possible(RunRecord(job.round, best))
        message = f"stopped on request after round {job.round}"
        self.control.patiently(
            lambda: self.stores.jobs.finish(self.lease, "stopped", message=message, model_round=best or None)
        )

    def _hold(self, message: str) -> None:
        """Let the job wait for its user, and the trainer go on with others."""
        logger.error("job %d waits: %s", self.job.id, message)
        self.control.end()
        self.control.patiently(lambda: self.stores.jobs.hold(self.lease, message))

    def _fail(self, message: str) -> None:
        trace = traceback.format_exc()
        logger.error("failed: %s", message)
        self.control.end()
        self.control.patiently(lambda: self.stores.jobs.finish(self.lease, "failed", message=message, traceback=trace))


@contextmanager
def closing_without_waiting(thread: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """Close a thread's queue at the end, and let it finish what it does by itself."""
    try:
        yield thread
    finally:
        thread.shutdown(wait=False)


def _start(dataset: FederatedDataset) -> RoundResult:
    """Round 0: what lists without a model reach, to compare with."""
    baselines: dict[str, Callable[[FederatedDataset], Scorer]] = {
        "popularity": Popularity,
        "item_counts": ItemItemCounts,
    }
    if dataset.num_items <= EASE_ITEMS:
        baselines["ease"] = EASE
    metrics: dict[str, float] = {}
    for prefix, fitted in baselines.items():
        table = table_metrics(evaluate(dataset, fitted(dataset), "validation"))
        metrics |= {f"{prefix}_{name}": value for name, value in table.items()}
    return RoundResult(0, is_best=False, checkpoint=None, metrics={"validation": metrics})


def job_directory(settings: Settings, job_id: int) -> RunDirectory:
    """Return where a job's snapshot and checkpoints are."""
    return RunDirectory(settings.data_dir / "jobs" / str(job_id))
