"""One job from its claim to its end: the snapshot of its data, its rounds, and what it leaves behind."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

from fedmem.bucket import Runs, trainers_epoch
from fedmem.checkpoint import RunDirectory, RunRecord, Snapshot
from fedmem.config import ExperimentConfig
from fedmem.config_reader import validate_config
from fedmem.contracts.memory import SHARE
from fedmem.errors import (
    OUT_OF_MEMORY,
    BucketError,
    CheckpointError,
    ConfigError,
    DiskFullError,
    FedMemError,
    LeaseLostError,
    NodesAwayError,
    StorageError,
)
from fedmem.evaluation.metric_table import MetricTable
from fedmem.experiment import TrainingRun
from fedmem.federated.state import RoundReport
from fedmem.federated.transition_release import unreleased
from fedmem.interruption import heeding
from fedmem.serving import Recommender, score_shares
from fedmem.storage.job_room import require_memory
from fedmem.storage.jobs import JobRow, Lease
from trainer.abandonable import InterruptedJobError
from trainer.control import Control
from trainer.disk_wait import DiskSpaceWait
from trainer.job_recorder import JobRecorder, with_and_without
from trainer.job_snapshot import JobSnapshot, MissingFolderError
from trainer.promotion import Promotion
from trainer.settings import Settings
from trainer.stores import Stores

logger = logging.getLogger(__name__)

NO_MEMORY = "can't allocate memory"


class JobRun:
    """Trains a claimed job until it ends, or until its user or the process's supervisor wants otherwise."""

    def __init__(
        self, stores: Stores, runs: Runs, settings: Settings, job: JobRow, lease: Lease, control: Control
    ) -> None:
        self.stores, self.runs, self.settings = stores, runs, settings
        self.job, self.lease, self.control = job, lease, control
        self.directory = RunDirectory(runs.folder_of(job.id))
        self._room = DiskSpaceWait(self._go_on)

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
        except InterruptedJobError:
            self._end_as_wished()
        except (LeaseLostError, StorageError):
            raise
        except (MissingFolderError, NodesAwayError) as missing:
            self._hold(str(missing))
        except FedMemError as error:
            self._fail(str(error), trace=None)  # what the sentence says is all there is to mend
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
        """Train; where disk or bucket take nothing, wait until they do, and go on from the last round."""
        while True:
            reached = self.stores.jobs.get(self.job.id).round
            try:
                return self._train()
            except (DiskFullError, BucketError) as error:
                self.job = self.stores.jobs.get(self.job.id)
                self._room.wait(error, progress=self.job.round > reached)

    def _train(self) -> None:
        config = validate_config(self.job.config, f"job {self.job.id}")
        require_memory(config, self.stores.catalogue.dataset(self.job.dataset), self.settings.job_memory)
        with self._folder(config):
            self._train_in_it(config)

    @contextmanager
    def _folder(self, config: ExperimentConfig) -> Iterator[None]:
        """Keep the job's folder, as the bucket has it.

        Raises:
            MissingFolderError: if it cannot be had from there.
        """
        masked = config.secure_sums.enabled and not config.clients_here
        if masked and self.job.round and self.runs.bucket is not None and not self.directory.exists:
            raise MissingFolderError(
                f"job {self.job.id} masks sums over nodes, and {self.directory.path}, which says of which nodes the "
                "last one is, is not here: a second sum of others would tell the difference. Bring the folder back"
            )
        with ExitStack() as stack:
            try:
                stack.enter_context(self.runs.holding(self.job.id))
            except DiskFullError:
                raise
            except CheckpointError as error:
                raise MissingFolderError(f"{error}; then resume job {self.job.id}") from None
            yield

    def _train_in_it(self, config: ExperimentConfig) -> None:
        prepared = JobSnapshot(
            self.stores, self.runs, self.job, self.lease, self._go_on, self.control.check, self._publish
        )
        snapshot = prepared.read(config)
        self.job = prepared.job
        self._go_on()
        recorder = self._recorder(snapshot)
        self.control.check()
        with closing(self._begun(snapshot, recorder)) as run, closing(recorder):
            if self.job.round:
                run.restore(self.job.round)
                logger.info("going on from round %d", self.job.round)
                self._refuse_to_add_nothing(run)
            elif (carried := prepared.carried(snapshot)) is not None:
                run.take_up(carried)
            for _ in run.rounds(self.control.stop, self.control.watch):
                pass
            if not run.server.finished:
                raise InterruptedJobError
            self._conclude(run)

    def _begun(self, snapshot: Snapshot, recorder: JobRecorder) -> TrainingRun:
        """Set the run up, which waits for nodes where the clients are there."""
        with heeding(self._go_on):
            return TrainingRun(self.directory, snapshot, recorder=recorder)

    def _refuse_to_add_nothing(self, run: TrainingRun) -> None:
        """Refuse to continue a job that ended early: it would end at once, and serve the same model again."""
        if self.job.start_from is None or self.job.goes_on_with_newest or not run.server.finished:
            return
        parent = self.stores.jobs.get(self.job.start_from)
        if self.job.round == parent.round:
            patience = run.snapshot.config.federated.patience
            raise ConfigError(
                f"job {parent.id} ended early after round {parent.round}, and federated.patience = {patience} would "
                "stop this one at once: raise it"
            )

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
            publish=self._publish,
            committed=self._say,
        )

    def _say(self, report: RoundReport) -> None:
        if report.validation is None:
            return
        loss, table = report.metrics.get("recommendation_loss"), report.validation
        trained = "without training" if loss is None else f"loss {loss:.3f}"
        best = ", the best so far" if report.is_best else ""
        logger.info("round %d: %s, validation %s%s", report.round, trained, _at_ten(table), best)

    def _conclude(self, run: TrainingRun) -> None:
        """Test the best model, and put it into service if it is not worse than what serves."""
        last = run.server.state.round
        result = run.finish(self._go_on)
        logger.info("test %s, model of round %d", _at_ten(result.table), result.round)
        without = result.without_transitions
        record = RunRecord(last, result.round, finished=True, test=result.table.to_dict())
        if without is not None:
            record = replace(record, test_without_transitions=without.to_dict())
        self._leave_record(record)
        test = with_and_without(result.table, without) | self._shares(run.snapshot, result.round)
        verdict = self._promotion().decide(run.snapshot, result.round)
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

    def _promotion(self) -> Promotion:
        mode = self.job.promotion or self.settings.promotion
        return Promotion(self.stores, self.job, mode, self.runs.brought, self.settings.max_attempts, self._go_on)

    def _shares(self, snapshot: Snapshot, round_number: int) -> dict[str, float]:
        """Take the scores of the tested model apart: ``share_<part>`` by name; by users of this installation."""
        if not snapshot.config.clients_here:
            return {}
        checkpoint = self.directory.checkpoints.read(round_number)
        shares = score_shares(Recommender.of(snapshot, checkpoint, f"round {round_number}"), self._go_on)
        return {f"{SHARE}{part}": share for part, share in shares.items()}

    def _leave_record(self, record: RunRecord) -> None:
        """Write the record that makes the job's folder a run for ``fedmem evaluate`` and the like."""
        self.control.check()
        self.directory.write_record(record)
        self._publish(thoroughly=True)

    def _publish(self, *, thoroughly: bool = False) -> None:
        """Let the bucket have what the job's folder holds."""
        self.runs.publish(self.job.id, trainers_epoch(self.lease.token), self.control.check, thoroughly=thoroughly)

    def _leave_record_if_possible(self, record: RunRecord) -> None:
        """Do the same for a job that is to end now, whatever its disk says: its checkpoints are whole without it."""
        try:
            self._leave_record(record)
        except (CheckpointError, BucketError) as error:
            logger.warning("the job ends without a record for fedmem evaluate: %s", error)

    def _why_finished(self, run: TrainingRun, last: int) -> str:
        why = self._why_no_more_rounds(run, last)
        begun = self._begun_with() if self.job.goes_on_with_newest else 0
        every = run.snapshot.config.evaluation.eval_every
        if last // every == begun // every:
            rounds = "1 round" if last == begun + 1 else f"{last - begun} rounds"
            return f"{why}; no round was validated: evaluation.eval_every = {every} and {rounds}; lower it"
        if begun and run.record.best == begun:
            return f"{why}; on the newest data none was better than the model of job {self.job.start_from}, which stays"
        return why

    def _begun_with(self) -> int:
        """Name the round with which the job began: of the model that it continues, whose job may be gone by now."""
        (first,) = self.stores.metrics.rounds(self.job.id, after_round=0, limit=1)
        return first.round

    def _why_no_more_rounds(self, run: TrainingRun, last: int) -> str:
        if last >= self.job.num_rounds:
            return f"all {last} rounds are done" if last > 1 else "its one round is done"
        config = run.snapshot.config
        if last and run.server.budget and last >= run.server.budget.rounds:
            return f"ended after round {last}: one more would spend more than {run.server.budget.settings}"
        patience = config.federated.patience
        watched = config.evaluation.stopping_metric
        why = (
            f"ended early, because validation {watched} had not improved in {patience} evaluations (federated.patience)"
        )
        return "; ".join(filter(None, (why, unreleased(config, run.server.state))))

    def _go_on(self) -> None:
        """Raise where the job is to end or to wait; called between two pieces of work."""
        if self.control.stop():
            raise InterruptedJobError

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

    def _fail(self, message: str, trace: str | None = "") -> None:
        """End the job as failed; the traceback is that of the error at hand, unless it is None."""
        trace = trace if trace is None else traceback.format_exc()
        logger.error("failed: %s", message)
        self.control.end()
        self.control.patiently(lambda: self.stores.jobs.finish(self.lease, "failed", message=message, traceback=trace))


def _at_ten(table: MetricTable) -> str:
    """Name a model's figures that most look at, as far as they are measured."""
    return ", ".join(f"{name} {table.mean(name):.4f}" for name in ("HR@10", "NDCG@10") if name in table.values)
