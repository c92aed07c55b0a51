"""Whether the model of a finished job goes into service: by comparison with what serves, on the newest data."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedmem.checkpoint import RunDirectory, Snapshot
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import FedMemError, LeaseLostError, StorageError
from fedmem.evaluation.baselines import Popularity
from fedmem.evaluation.evaluate import Scorer, evaluate
from fedmem.evaluation.metric_table import MetricTable, paired_difference
from fedmem.interruption import heeding
from fedmem.randomness import numpy_generator
from fedmem.serving import Recommender, TransferredScorer
from fedmem.storage.jobs import JobRow, Verdict
from fedmem.storage.models import ModelRow, version_name
from trainer.abandonable import InterruptedJobError, run_abandonable
from trainer.dataset import load_dataset
from trainer.stores import Stores

logger = logging.getLogger(__name__)

METRIC = "NDCG@10"
MOST_USERS = 10_000  # whose rankings are compared: some minutes at most
NOT_VALIDATED = "it could not be validated on the newest data"


@dataclass(frozen=True)
class Promotion:
    """Decides for a finished job.

    Attributes:
        stores: the database.
        job: the job.
        mode: ``auto``, ``gate`` or ``manual``.
        folder_of: gives a job's folder, brought where another machine has published it.
        max_attempts: in the last of which nothing is compared, as trainers may die of that.
        go_on: called between two pieces of work; raises where the job is to end or to wait.
    """

    stores: Stores
    job: JobRow
    mode: str
    folder_of: Callable[[int], Path]
    max_attempts: int
    go_on: Callable[[], None]

    def decide(self, snapshot: Snapshot, round: int) -> Verdict:
        """Say whether the model of a round goes into service, and why."""
        if self.job.kind == "experiment":
            return Verdict(False)
        if self.mode == "auto":
            return Verdict(True)
        if (stays := self._is_what_serves(round)) is not None:
            logger.info("model %s stays in service: no later round was better", stays)
            return Verdict(False)
        found = Verdict(False, "promotion is manual") if self.mode == "manual" else self._compared(snapshot, round)
        version = version_name(self.job.id, round)
        if found.serve:
            logger.info("model %s may go into service: %s", version, found.reason)
        else:
            logger.warning(
                "model %s waits, ready: %s; POST /models/%s/activate serves it all the same",
                version,
                found.reason,
                version,
            )
        return found

    def _is_what_serves(self, round: int) -> str | None:
        """Name the model in service where this one is the same, trained on without gain; None where it is not."""
        active = self.stores.models.active(self.job.dataset)
        if active is None or not self.job.goes_on_with_newest:
            return None
        if (active.job_id, active.round) != (self.job.start_from, round):
            return None
        try:  # the weights of the transition memory were chosen anew, on the newest data
            before, now = (self._strengths(job_id, round) for job_id in (active.job_id, self.job.id))
        except (FedMemError, OSError):
            return None
        return active.version if before == now else None

    def _strengths(self, job_id: int, round: int) -> tuple[float, Mapping[int, float]]:
        checkpoint = RunDirectory(self.folder_of(job_id)).checkpoints.read(round)  # all of it, as it may be damaged
        return checkpoint.server.strength, checkpoint.server.short_strengths

    def _compared(self, snapshot: Snapshot, round: int) -> Verdict:
        """Compare with what serves; the job has ended well whatever goes wrong here, and its model then waits."""
        if self.stores.jobs.get(self.job.id).attempts_without_progress >= self.max_attempts:
            return Verdict(False, f"{NOT_VALIDATED}: this was left out in the last attempt (FEDMEM_MAX_ATTEMPTS)")
        try:
            newest = self._newest(snapshot)
            if not len(newest.evaluated_users):
                return Verdict(False, f"{NOT_VALIDATED}, in which no user of this installation has enough interactions")
            gate = Gate(newest, self.folder_of, snapshot.config.seed, self.go_on)
            return gate.judge(self.job.id, round, self._serving())
        except (InterruptedJobError, LeaseLostError, StorageError):
            raise
        except FedMemError as error:
            return Verdict(False, f"{NOT_VALIDATED}: {error}")
        except Exception as error:
            logger.exception("the model of job %d could not be validated", self.job.id)
            return Verdict(False, f"{NOT_VALIDATED} ({type(error).__name__})")

    def _serving(self) -> list[ModelRow]:
        """List the model that is to serve and, after it, those that stand in for it where it cannot be read."""
        active = self.stores.models.active(self.job.dataset)
        return [] if active is None else [active, *self.stores.models.stand_ins(active)]

    def _newest(self, snapshot: Snapshot) -> FederatedDataset:
        """Read the data set as it is now; the job's own snapshot where nothing has come since."""
        config = snapshot.config.data
        newest, _ = run_abandonable(
            lambda: load_dataset(
                self.stores.catalogue, self.job.dataset, min_sequence_length=config.min_sequence_length
            ),
            self.go_on,
        )
        return snapshot.dataset if newest.digest == snapshot.dataset.digest else newest.configured(config)


@dataclass(frozen=True)
class Gate:
    """Compares a model with popularity and with what serves, by validation NDCG@10 of the same users.

    Attributes:
        dataset: the newest data.
        folder_of: gives a job's folder, brought where another machine has published it.
        seed: draws the users, where there are more than MOST_USERS.
        go_on: called between groups of users; raises where the job is to end or to wait.
    """

    dataset: FederatedDataset
    folder_of: Callable[[int], Path]
    seed: int
    go_on: Callable[[], None]

    def judge(self, job_id: int, round: int, serving: Sequence[ModelRow]) -> Verdict:
        """Say whether the model of a job's round goes into service in place of the first of these that can be read.

        Raises:
            CheckpointError: if it cannot be read.
        """
        with heeding(self.go_on):
            own = self._measure(self._on_newest(job_id, round))
            popularity = self._measure(Popularity(self.dataset))
            beside, version = self._first_measured(serving)
        found = verdict(own, popularity, beside, version)
        return replace(found, against=serving[0].version if serving else None)

    def _first_measured(self, serving: Sequence[ModelRow]) -> tuple[MetricTable | None, str | None]:
        """Measure the first that can be read, and name it."""
        for row in serving:
            if (table := self._measured(row)) is not None:
                return table, row.version
        return None, None

    def _measured(self, serving: ModelRow) -> MetricTable | None:
        """Measure what serves; a model that cannot be read is none."""
        try:
            return self._measure(self._on_newest(serving.job_id, serving.round))
        except (LeaseLostError, StorageError):
            raise
        except (FedMemError, OSError) as error:
            logger.warning("model %s, which is to serve, cannot be compared with: %s", serving.version, error)
            return None

    def _on_newest(self, job_id: int, round: int) -> Scorer:
        model = run_abandonable(lambda: Recommender.load(self.folder_of(job_id), round), self.go_on)
        return TransferredScorer(model, self.dataset)

    def _measure(self, scorer: Scorer) -> MetricTable:
        def heed(done: int, total: int) -> None:
            self.go_on()

        users = self._users()
        return evaluate(self.dataset, scorer, "validation", k_list=(10,), metrics=("NDCG",), users=users, progress=heed)

    def _users(self) -> np.ndarray:
        users = self.dataset.evaluated_users
        if len(users) <= MOST_USERS:
            return users
        drawn = numpy_generator(self.seed, "promotion").choice(users, MOST_USERS, replace=False)
        return np.sort(drawn)


def verdict(own: MetricTable, popularity: MetricTable, beside: MetricTable | None, serving: str | None) -> Verdict:
    """Judge by what was measured of the same users; ``beside`` is what serves, where it could be measured."""

    def say(serve: bool, reason: str) -> Verdict:
        return Verdict(
            serve, f"validation {METRIC} on the newest data is {own.mean(METRIC):.4f}, {reason}", True, serving
        )

    least = popularity.mean(METRIC)
    if own.mean(METRIC) <= least:
        return say(False, f"not above that of popularity, {least:.4f}")
    if beside is None:
        return say(True, f"above that of popularity, {least:.4f}")
    difference, error = paired_difference(own, beside, METRIC)
    error = 0.0 if math.isnan(error) else error  # of a single user
    compared = f"{beside.mean(METRIC):.4f} of {serving} (paired difference {difference:+.4f} ± {error:.4f})"
    if difference < -error:
        return say(False, f"worse than {compared}")
    return say(True, f"not worse than {compared}")
