"""What a job trains on: the snapshot of its data, without users who were deleted since."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from fedmem.bucket import Runs
from fedmem.checkpoint import RunDirectory, Snapshot
from fedmem.config import ExperimentConfig
from fedmem.continuation import CarriedState, carried_over
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.trainable import require_trainable
from fedmem.errors import CheckpointError
from fedmem.evaluation.baselines import EASE, ItemItemCounts, Popularity
from fedmem.evaluation.evaluate import Scorer, evaluate
from fedmem.resumable import check_continuable
from fedmem.serving import erase_texts, erase_users, known_users, texts_folder
from fedmem.snapshot import take_snapshot
from fedmem.storage.jobs import JobRow, Lease, RoundResult
from trainer.abandonable import run_abandonable
from trainer.dataset import load_dataset
from trainer.job_recorder import table_metrics
from trainer.stage_log import StageLog
from trainer.stores import Stores

logger = logging.getLogger(__name__)

EASE_ITEMS = 5_000  # of more, inverting the matrix would hold up the first round for over ten seconds


class MissingFolderError(Exception):
    """The folder of the job's checkpoints is not there: lost, or the trainer's folder is another's."""


@dataclass
class JobSnapshot:
    """Finds or takes a claimed job's snapshot.

    Attributes:
        stores: the database.
        runs: the jobs' folders, in which its snapshot and checkpoints are.
        job: the job; ``read`` renews it where it takes over another job's rounds.
        lease: of the job.
        go_on: called between two pieces of work; raises where the job is to end or to wait.
        check: raises where the lease is lost.
        publish: lets the bucket have the folder; ``thoroughly``, and nothing that it no longer holds.
    """

    stores: Stores
    runs: Runs
    job: JobRow
    lease: Lease
    go_on: Callable[[], None]
    check: Callable[[], None]
    publish: Callable[..., None]

    @property
    def directory(self) -> RunDirectory:
        """The job's own."""
        return RunDirectory(self.runs.folder_of(self.job.id))

    def read(self, config: ExperimentConfig) -> Snapshot:
        """Read what an earlier attempt left, else a copy from the job that it continues, or the data set as it is now.

        Raises:
            MissingFolderError: if rounds were trained, and their folder is not there.
            DataError: if deletions left no user to train on.
        """
        if not self.job.round:
            self.runs.drop_unpublished(self.job.id)
        self._ask_of_unpublished(self.job.id)
        self._erase_deleted()
        copies = self.job.start_from is not None and not self.job.goes_on_with_newest and not self._recorded()
        if self.job.round > 0 and not self.directory.exists:
            raise MissingFolderError(
                f"job {self.job.id} has trained {self.job.round} rounds, but {self.directory.path} does not hold them: "
                "bring the folder back, or start the trainer with the FEDMEM_DATA_DIR of the one that trained them; "
                "then resume the job"
            )
        if copies and self.job.start_from is not None:
            self._take_over(config, self.job.start_from)
        elif not self.directory.exists:
            self._take(config)
        snapshot = run_abandonable(self.directory.read_snapshot, self.go_on)
        if config.clients_here:  # of whom some may have been erased
            require_trainable(snapshot.dataset, f"the snapshot of job {self.job.id}")
        return snapshot

    def _ask_of_unpublished(self, job_id: int) -> None:
        """Ask for the erasure of users whom others have erased from a bucket that was before this one."""
        if self.runs.is_unpublished(job_id):
            users = known_users(self.runs.folder_of(job_id))
            self.stores.erasures.ask(job_id, self.stores.erasures.gone(job_id, users))

    def _erase_deleted(self) -> None:
        """Erase the users who were deleted since the job's files were written."""
        for erasure in self.stores.erasures.of_job(self.job.id):
            logger.info("%d deleted users are erased from the snapshot and the checkpoints", len(erasure.user_ids))
            erase_texts(self.runs.data_dir)
            for path in erase_users(self.directory.path, erasure.user_ids):
                logger.warning("%s was damaged, and may have held a deleted user: it is removed", path)
            self.publish(thoroughly=True)
            self.stores.erasures.done(erasure)

    def _recorded(self) -> bool:
        """Say whether any round is in the database, even if only the start."""
        return bool(self.stores.metrics.rounds(self.job.id, after_round=-1, limit=1))

    def _take(self, config: ExperimentConfig) -> None:
        """Take the data set as it is now, or as it was when the job first began."""
        logger.info("reading the data set %s", self.job.dataset)
        dataset, last = run_abandonable(
            lambda: load_dataset(
                self.stores.catalogue,
                self.job.dataset,
                min_sequence_length=config.data.min_sequence_length,
                until_id=self.job.last_interaction_id,
            ),
            self.go_on,
        )
        self.stores.jobs.begin(self.lease, snapshot_digest=dataset.digest, last_interaction_id=last)
        if not self._recorded():
            start = run_abandonable(lambda: _start(config, dataset.configured(config.data)), self.go_on)
            self.stores.jobs.commit_round(self.lease, start)
        parent = self._parent()
        like = None if parent is None else self._snapshot_of(parent, config)
        # Importing, downloading and loading an encoder takes seconds to minutes, a language model's answer up to one.
        texts = texts_folder(self.runs.data_dir)
        snapshot = run_abandonable(
            lambda: take_snapshot(config, dataset, StageLog(self.go_on), like, texts), self.go_on
        )
        self.go_on()
        self.directory.write_snapshot(snapshot)
        self.publish()

    def _parent(self) -> JobRow | None:
        """Find the job whose model goes on with the newest data in this one."""
        going_on = self.job.start_from is not None and self.job.goes_on_with_newest
        return self.stores.jobs.get(self.job.start_from) if going_on and self.job.start_from is not None else None

    def _snapshot_of(self, parent: JobRow, config: ExperimentConfig) -> Snapshot:
        """Read what the other job was trained on.

        Raises:
            CheckpointError: if its files are gone.
            ConfigError: if its configuration is another, or has spent a budget on its data.
        """
        directory = self._directory_of(parent)
        if not directory.exists:
            raise CheckpointError(
                f"job {self.job.id} continues job {parent.id}, whose checkpoints are no longer in {directory.path}: "
                "bring the folder back, continue another job, or train anew without start_from"
            )
        check_continuable(directory.read_config(), config, parent.id, newest=True)
        return run_abandonable(directory.read_snapshot, self.go_on)

    def _directory_of(self, parent: JobRow) -> RunDirectory:
        folder = self.runs.brought(parent.id)
        self._ask_of_unpublished(parent.id)
        return RunDirectory(folder)

    def carried(self, snapshot: Snapshot) -> CarriedState | None:
        """Carry the model over that this job lets go on with the newest data; None where none does, or it did."""
        parent = self._parent()
        if parent is None or self.job.round:
            return None
        directory, round = self._directory_of(parent), parent.model_round
        pending = self.stores.erasures.of_job(parent.id)
        gone = {user_id for erasure in pending for user_id in erasure.user_ids}
        logger.info("continuing the model of job %d, of round %d, on the newest data", parent.id, round)
        return run_abandonable(lambda: carried_over(directory, round, snapshot, gone), self.go_on)

    def _take_over(self, config: ExperimentConfig, parent_id: int) -> None:
        """Copy the other job's data, last and best checkpoint, and its rounds."""
        parent = self.stores.jobs.get(parent_id)
        directory = self._directory_of(parent)
        check_continuable(directory.read_config(), config, parent_id, newest=False)
        logger.info("continuing job %d after its round %d", parent_id, parent.round)
        self.check()
        pending = self.stores.erasures.of_job(parent_id)
        self.directory.copy_from(directory, config, [parent.round, parent.model_round])
        for erasure in pending:  # which the copies may hold still
            erase_users(self.directory.path, erasure.user_ids)
        self.publish()
        self.stores.jobs.inherit(self.lease, parent_id)  # names what is there by now
        self.job = self.stores.jobs.get(self.job.id)


def _start(config: ExperimentConfig, dataset: FederatedDataset) -> RoundResult:
    """Round 0: what lists without a model reach, to compare with; nothing where the clients' data are elsewhere."""
    if not config.clients_here:
        return RoundResult(0, is_best=False, checkpoint=None, metrics={})
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
