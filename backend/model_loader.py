"""Makes models of checkpoints: read, brought up to date with the database, and checked, or refused."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace

import numpy as np

from backend.new_interactions import NewInteractions
from backend.served_items import SnapshotItems, encode, with_items
from backend.served_model import ServedModel
from backend.telemetry import ModelMetrics
from fedmem.bucket import Runs
from fedmem.contracts import Selection
from fedmem.errors import CheckpointError, ConflictError, StorageError
from fedmem.serving import Question, Recommender, TransitionTable
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from fedmem.storage.erasures import ErasureStore
from fedmem.storage.jobs import JobStore
from fedmem.storage.models import ModelRow

LOG = logging.getLogger(__name__)
TRY_AGAIN = 60.0  # seconds after which a checkpoint that was refused is tried again
SAMPLE = 32  # known users whom a model must be able to answer before it serves
PIECE = 256  # items whose texts are encoded at once, some seconds: before a model serves, or one that waits is loaded
NICENESS = 10  # of the thread that loads models


@dataclass(frozen=True)
class Refusal:
    """Why a version could not be served, and when that was found."""

    reason: str
    time: float


@dataclass(eq=False)
class ModelLoader:
    """Loads one version at a time, in a thread that lets answers go first.

    Attributes:
        jobs: which interactions a version's snapshot holds.
        catalogue: items and interactions.
        erasures: told which deleted users a checkpoint still holds.
        runs: the jobs' folders, with the trainers' checkpoints.
        metrics: refusals are counted.
        refusals: versions that could not be served.
    """

    jobs: JobStore
    catalogue: CatalogueStore
    erasures: ErasureStore
    runs: Runs
    metrics: ModelMetrics
    clock: Callable[[], float] = time.monotonic
    refusals: dict[str, Refusal] = field(default_factory=dict)
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "loader", lower_priority))
    _snapshot_items: SnapshotItems = field(init=False)

    def __post_init__(self) -> None:
        self._snapshot_items = SnapshotItems(self.catalogue)

    def load(self, row: ModelRow) -> ServedModel:
        """Load a version that has answered once.

        Raises:
            ConflictError: if its checkpoint is gone or broken.
        """
        try:
            model = self._thread.submit(copy_context().run, self._loaded, row).result()
        except StorageError:
            raise  # not the model's fault
        except Exception as error:  # whatever is wrong with a file, the model in service is to stay
            self.refusals[row.version] = Refusal(str(error), self.clock())
            self.metrics.refusals.inc()
            LOG.warning("model %s was refused", row.version, exc_info=error)
            raise ConflictError(f"model {row.version} cannot be served: {error}") from error
        self.refusals.pop(row.version, None)
        return model

    def refused_lately(self, row: ModelRow) -> bool:
        """Say whether a version was refused a moment ago, so that it need not be tried again yet."""
        refusal = self.refusals.get(row.version)
        return refusal is not None and self.clock() - refusal.time < TRY_AGAIN

    def encode(self, model: ServedModel, rows: list[ItemRow], between: Callable[[], None]) -> None:
        """Encode items' texts for a model, in the same thread, which loads models between two pieces of them.

        ``between`` is called there.
        """
        for start in range(0, len(rows), PIECE):
            if start:
                between()
            self._thread.submit(copy_context().run, encode, model, rows[start : start + PIECE]).result()

    def table_of(self, model: ServedModel) -> TransitionTable | None:
        """Make the rows of the transition memory of what was counted by now, in the same thread."""
        return self._thread.submit(model.recommender.trained.transition_table).result()

    def _loaded(self, row: ModelRow) -> ServedModel:
        if row.checkpoint is None:
            raise CheckpointError(f"the checkpoint of round {row.round} of job {row.job_id} is no longer kept")
        began = self.clock()
        trained = Recommender.load(self.runs.brought(row.job_id), row.round, row.version)
        last_id = self.jobs.get(row.job_id).last_interaction_id
        model = ServedModel(trained, row.dataset, row.job_id, NewInteractions(last_id or 0))
        self._forget_deleted(model)
        # Its job has ended, and nothing is tested by it any more.
        model = replace(model, recommender=trained.with_held_out())
        version, changed = self._snapshot_items.changed_since(model)
        if len(changed) <= PIECE:  # else it serves without them first, and its keeper takes them up
            model = replace(with_items(model, changed), items_version=version)
        model.catch_up(self.catalogue)
        model.count_new()
        model.recommender.refresh()
        check(model.recommender)
        LOG.info("model %s loaded and checked in %.1f s", row.version, self.clock() - began)
        return model

    def _forget_deleted(self, model: ServedModel) -> None:
        """Forget the snapshot's users who were deleted since."""
        assert model.job_id is not None
        deleted = self.erasures.gone(model.job_id, model.recommender.dataset.vocabulary.known_users)
        for user_id in deleted:
            model.recommender.forget_user(user_id)
        self.erasures.ask(model.job_id, deleted)


def lower_priority() -> None:
    """Let this thread run when no other of the process wants to: a model that is being loaded can wait, answers not."""
    if sys.platform == "linux":  # elsewhere priorities belong to processes
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))


def check(recommender: Recommender) -> None:
    """Let a model answer a sample of users, a new one and a history, with the reasons; it is warm afterwards.

    Raises:
        CheckpointError: if a score is missing or not finite.
    """
    items, users = len(recommender.catalogue), recommender.dataset.vocabulary.known_users
    new = Question(selection=Selection(include_seen=True, explain=True))
    sample = [users[place] for place in np.linspace(0, len(users) - 1, min(len(users), SAMPLE)).astype(int)]
    first = [recommender.catalogue.item(index).item_id for index in range(1, min(items, 10) + 1)]
    recommender.answer(replace(new, selection=Selection(include_seen=True)))
    for question in (new, replace(new, history=first), *(replace(new, user_id=user) for user in sample)):
        recommender.answer(question)
        finite = int(np.isfinite(recommender.scores(question)).sum())
        if finite != items:
            raise CheckpointError(f"{finite} of {items} items have a score that is a number")
    if first:
        recommender.similar(first[0], 1)
