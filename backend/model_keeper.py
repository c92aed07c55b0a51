"""Keeps the model in service up to date with the database: versions, interactions, items, users who were deleted."""

import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from backend.new_interactions import NewInteractions
from backend.served_items import SnapshotItems, changed_rows, encode, with_items
from backend.served_model import ServedModel, ServedModels
from backend.telemetry import ModelMetrics
from fedmem.contracts import Selection
from fedmem.contracts.jobs import JobState
from fedmem.errors import CheckpointError, ConflictError, StorageError
from fedmem.serving import Question, Recommender, erase_users
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from fedmem.storage.erasures import Erasure, ErasureStore
from fedmem.storage.jobs import JobStore
from fedmem.storage.models import ModelRow, ModelStore

LOG = logging.getLogger(__name__)
TRY_AGAIN = 60.0  # seconds after which a checkpoint that was refused is tried again
PAGE = 10_000
SAMPLE = 32  # known users whom a model must be able to answer before it serves
NICENESS = 10  # of the thread that loads models

Change = Callable[[ServedModel], ServedModel]


@dataclass(frozen=True)
class Refusal:
    """Why a version could not be served, and when that was found."""

    reason: str
    time: float


@dataclass(eq=False)
class ModelKeeper:
    """Loads, checks and swaps; everything here may block and is called in a thread.

    Attributes:
        models: the versions and which is active.
        jobs: which interactions a version's snapshot holds.
        catalogue: items and interactions.
        erasures: deleted users whom checkpoints may hold still.
        data_dir: where the trainers' checkpoints are.
        served: the reference that is swapped.
        metrics: swaps and refusals are counted.
        refusals: versions that could not be served.
    """

    models: ModelStore
    jobs: JobStore
    catalogue: CatalogueStore
    erasures: ErasureStore
    data_dir: Path
    served: ServedModels
    metrics: ModelMetrics
    clock: Callable[[], float] = time.monotonic
    refusals: dict[str, Refusal] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)
    _changing: threading.Lock = field(default_factory=threading.Lock)
    _erasing: threading.Lock = field(default_factory=threading.Lock)
    _log_holds_deleted: bool = True  # until it is emptied for the first time
    _not_erased: dict[int, float] = field(default_factory=dict)  # by job, when that was found
    _loader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "loader", lower_priority))
    _meanwhile: list[tuple[str, Change]] = field(default_factory=list)
    _snapshot_items: SnapshotItems = field(init=False)

    def __post_init__(self) -> None:
        self._snapshot_items = SnapshotItems(self.catalogue)

    def look(self) -> None:
        """Serve what is active by now, and read what users did and how items changed meanwhile."""
        with self._loading:
            self._meanwhile.clear()
            active = self.models.active()
            if active is not None and not self._is_served(active) and not self._was_refused(active):
                self._try(active)
            if active is not None and self.served.current is None:
                self._stand_in(active)
        if self.served.current is None:
            self.served.awaited = self._awaited()
        self.catch_up()
        self._catch_up_with_items()
        failures = self._erase(not_again=TRY_AGAIN)
        if self._log_holds_deleted:
            self._log_holds_deleted = not self.catalogue.forget_log()
        for erasure, error in failures:
            LOG.error("deleted users are still in the files of job %d: %s", erasure.job_id, error)

    def activate(self, version: str, reason: str) -> ModelRow:
        """Serve a version from now on; one that cannot be served is not activated.

        Raises:
            UnknownModelError: if there is none of that name.
            ConflictError: if its checkpoint is gone or broken; the model in service stays.
        """
        with self._loading:
            self._meanwhile.clear()  # what was stored until now is in the models in memory, and read from the database
            row = self.models.get(version)
            model = self._prepared(row)
            row = self.models.activate(version, reason)
            self._swap(model)
            return row

    def catch_up(self) -> None:
        """Read the interactions that came since the last look; they count from the next answer on."""
        with self._changing:
            for model in self.served.all():
                self._read_new_interactions(model)

    def put_item(self, dataset: str, row: ItemRow) -> None:
        """Store an item, and make it known to the models of this data set."""
        for model in self.served.all():
            if model.dataset == dataset:
                encode(model, [row])
        with self._changing:
            self.catalogue.put_item(dataset, row)
            self._change(dataset, lambda model: with_items(model, [row]))

    def delete_user(self, dataset: str, user_id: str) -> None:
        """Delete a user's interactions, and the user's memory from all models and jobs of this data set, on disk too.

        Of a job that is running the trainer writes the files; they are erased once it pauses or ends.

        Raises:
            CheckpointError: naming the files that cannot be read or written; all others were erased.
        """
        with self._changing:
            last_id = self.catalogue.delete_user(dataset, user_id).last_id
            self._change(dataset, lambda model: _without_user(model, user_id, last_id))
            self._log_holds_deleted = True
        failed = self._erase()
        self._log_holds_deleted = not self.catalogue.forget_log()  # those who read it now end soon: look() tries again
        failures = [str(error) for erasure, error in failed if user_id in erasure.user_ids]
        if failures:
            raise CheckpointError("; ".join(failures))

    def _awaited(self) -> str:
        """Say what will bring the first model."""
        states: tuple[JobState, ...] = ("running", "queued", "paused")
        jobs = (job for state in states for job in self.jobs.page(state=state, kind="training", limit=1))
        job = next(jobs, None)
        if job is None:
            return ServedModels.awaited
        if job.state == "queued":
            return f"job {job.id} is queued; its model answers when it is done"
        paused = "paused " if job.state == "paused" else ""
        return f"job {job.id} is {paused}at round {job.round} of {job.num_rounds}; its model answers when it is done"

    def _change(self, dataset: str, change: Change) -> None:
        """Change the models of a data set: those in memory, and the one that is being loaded once it is."""
        for model in self.served.all():
            if model.dataset == dataset:
                self.served.replace(change(model))
        if self._loading.locked():
            self._meanwhile.append((dataset, change))

    def _erase(self, not_again: float = 0.0) -> list[tuple[Erasure, CheckpointError]]:
        """Erase deleted users from the files of all jobs that no trainer holds; what could not be done, and why.

        What failed less than ``not_again`` seconds ago is left for later.
        """
        failures = []
        with self._erasing:  # files are read, changed and written again
            for erasure in self.erasures.pending():
                if self.clock() - self._not_erased.get(erasure.job_id, -math.inf) < not_again:
                    continue
                try:
                    self._erase_files(erasure)
                    self._not_erased.pop(erasure.job_id, None)
                except StorageError:
                    raise  # the database's, and so of all
                except Exception as error:  # whatever is wrong with one job's files, those of others are erased
                    self._not_erased[erasure.job_id] = self.clock()
                    failures.append((erasure, CheckpointError(str(error) or type(error).__name__)))
        return failures

    def _erase_files(self, erasure: Erasure) -> None:
        for path in erase_users(self._folder(erasure.job_id), erasure.user_ids):
            LOG.warning("%s was damaged, and may have held a deleted user: it is removed, its checkpoint is lost", path)
        self.erasures.done(erasure)
        self._log_holds_deleted = True  # their ids, for one

    def _folder(self, job_id: int) -> Path:
        return self.data_dir / "jobs" / str(job_id)

    def _is_served(self, row: ModelRow) -> bool:
        current = self.served.current
        return current is not None and current.version == row.version

    def _was_refused(self, row: ModelRow) -> bool:
        refusal = self.refusals.get(row.version)
        return refusal is not None and self.clock() - refusal.time < TRY_AGAIN

    def _try(self, row: ModelRow) -> None:
        try:
            self._swap(self._prepared(row))
        except ConflictError as error:
            LOG.error("%s; what was in service stays", error)

    def _stand_in(self, active: ModelRow) -> None:
        """Serve the newest model of the same data that can be, where the one to serve cannot and none was before."""
        for row in self.models.page():
            if row.dataset == active.dataset and row.checkpoint is not None and not self._was_refused(row):
                self._try(row)
                if self.served.current is not None:
                    LOG.warning("model %s stands in for %s until that can be served", row.version, active.version)
                    return

    def _prepared(self, row: ModelRow) -> ServedModel:
        """Get a version that has answered once, from memory if it is there."""
        for model in self.served.all():
            if model.version == row.version:
                return model
        try:
            model = self._loader.submit(copy_context().run, self._loaded, row).result()
        except StorageError:
            raise  # not the model's fault
        except Exception as error:  # whatever is wrong with a file, the model in service is to stay
            self.refusals[row.version] = Refusal(str(error), self.clock())
            self.metrics.refusals.inc()
            LOG.warning("model %s was refused", row.version, exc_info=error)
            raise ConflictError(f"model {row.version} cannot be served: {error}") from error
        self.refusals.pop(row.version, None)
        return model

    def _loaded(self, row: ModelRow) -> ServedModel:
        if row.checkpoint is None:
            raise CheckpointError(f"the checkpoint of round {row.round} of job {row.job_id} is no longer kept")
        began = self.clock()
        recommender = Recommender.load(self._folder(row.job_id), row.round, row.version)
        last_id = self.jobs.get(row.job_id).last_interaction_id
        model = ServedModel(recommender, row.dataset, row.job_id, NewInteractions(last_id or 0))
        self._forget_deleted(model, last_id)
        version, changed = self._snapshot_items.changed_since(model)
        model = replace(with_items(model, changed), items_version=version)
        self._read_new_interactions(model)
        check(model.recommender)
        LOG.info("model %s loaded and checked in %.1f s", row.version, self.clock() - began)
        return model

    def _swap(self, model: ServedModel) -> None:
        with self._changing:
            for dataset, change in self._meanwhile:
                model = change(model) if dataset == model.dataset else model
            self._read_new_interactions(model)
            before = self.served.current
            self.served.swap(model)
            self._meanwhile.clear()
        self.metrics.swapped(model.version, model.recommender.round)
        LOG.info("%s", _swap_message(model, before))

    def _read_new_interactions(self, model: ServedModel) -> None:
        assert model.dataset is not None
        while rows := self.catalogue.since(model.dataset, model.new_interactions.last_id, PAGE):
            model.new_interactions.add(rows)
            if len(rows) < PAGE:
                return

    def _catch_up_with_items(self) -> None:
        """Make known to the models what was imported, or put by another process, since the last look."""
        for model in self.served.all():
            assert model.dataset is not None
            _, rows = self.catalogue.items_since(model.dataset, model.items_version)
            if changed := changed_rows(model.recommender.catalogue, rows):
                self._loader.submit(copy_context().run, encode, model, changed).result()
            if rows:
                with self._changing:
                    self._read_items(model.version)

    def _read_items(self, version: str) -> None:
        """Take up what has changed, unless the model is no longer in memory; their texts have been encoded."""
        for model in self.served.all():
            if model.version == version:
                assert model.dataset is not None
                now, rows = self.catalogue.items_since(model.dataset, model.items_version)
                self.served.replace(replace(with_items(model, rows), items_version=now))

    def _forget_deleted(self, model: ServedModel, last_id: int | None) -> None:
        """Forget the snapshot's users without interactions in the database up to its last: they were deleted since.

        What is behind that id is of those who came back: they begin anew.
        """
        assert model.dataset is not None
        assert model.job_id is not None
        there = self.catalogue.user_ids(model.dataset, last_id)
        deleted = set(model.recommender.dataset.vocabulary.known_users).difference(there)
        for user_id in deleted:
            model.recommender.forget_user(user_id)
        self.erasures.ask(model.job_id, deleted)


def lower_priority() -> None:
    """Let this thread run when no other of the process wants to: a model that is being loaded can wait, answers not."""
    if sys.platform == "linux":  # elsewhere priorities belong to processes
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


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


def _swap_message(model: ServedModel, before: ServedModel | None) -> str:
    what = f"model {model.version} of data set {model.dataset}"
    if before is None or before.version == model.version:
        return f"{what} is in service"
    return f"{what} replaces {before.version} of data set {before.dataset}"


def _without_user(model: ServedModel, user_id: str, until_id: int) -> ServedModel:
    """Forget what a user did up to an id; a model that was loaded meanwhile may know of a return already."""
    model.new_interactions.forget(user_id, until_id)
    model.recommender.forget_user(user_id)
    return model
