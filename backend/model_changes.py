"""Tells the models in memory what has changed: interactions, items, users who were deleted."""

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from backend.eraser import Eraser
from backend.failures import Failures
from backend.model_loader import ModelLoader
from backend.served_items import changed_rows, encode, wait_for_encoder, with_items
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from fedmem.logs import about
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from fedmem.storage.followed_runs import FollowedRuns
from fedmem.storage.models import ModelRow

LOG = logging.getLogger(__name__)
REST = 4  # how much longer than the making of rows is the time until they are made again

Change = Callable[[ServedModel], ServedModel]


@dataclass(eq=False)
class ModelChanges:
    """Changes the models in memory as the database changes; everything here may block and is called in a thread.

    Attributes:
        catalogue: items and interactions.
        loader: encodes texts, and makes tables of transitions.
        eraser: rids files of deleted users.
        followed: what is here of runs, from which other machines may have erased users.
        served: the models.
        troubles: what could not be done at the last look.
    """

    catalogue: CatalogueStore
    loader: ModelLoader
    eraser: Eraser
    followed: FollowedRuns
    served: ServedModels
    troubles: Failures
    clock: Callable[[], float] = time.monotonic
    _count_again: float = -math.inf
    _loading: threading.Lock = field(default_factory=threading.Lock)
    _changing: threading.Lock = field(default_factory=threading.Lock)
    _meanwhile: list[tuple[str, Change]] = field(default_factory=list)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Let no other model be loaded until the end; what changes meanwhile is told to it when it is taken in."""
        with self._loading:
            self._meanwhile.clear()  # what was stored until now is in the models in memory, and read from the database
            yield

    def prepared(self, row: ModelRow) -> ServedModel:
        """Get a version that has answered once, from memory if it is there.

        Raises:
            ConflictError: if its checkpoint is gone or broken.
        """
        with about(dataset=row.dataset, job=row.job_id):
            return self.served.in_memory(row.version) or self.loader.load(row)

    def take_in(self, model: ServedModel, put: Callable[[ServedModel], list[ServedModel]]) -> None:
        """Put a model that was loaded among the others, up to date with what has changed meanwhile."""
        with self._changing:
            gone = put(self._with_changes(model))
        self._say_who_left(gone)

    def _say_who_left(self, gone: list[ServedModel]) -> None:
        """Log the models in service that left memory; those that were replaced are not missed."""
        for model in gone:
            if self.served.in_service.get(model.dataset) == model.version:
                LOG.info(
                    "model %s of data set %s, which was asked least recently, leaves memory (FEDMEM_MODELS_IN_MEMORY): "
                    "it is loaded again once it is asked",
                    model.version,
                    model.dataset,
                )

    def forget(self, dataset: str) -> None:
        """Let a data set that was removed be answered no more."""
        with self._changing:
            self.served.forget(dataset)

    def catch_up(self, dataset: str) -> None:
        """Read the interactions of a data set that came since the last look; the next answer has them."""
        with self._changing:
            for model in self.served.all(dataset):
                model.catch_up(self.catalogue)

    def put_item(self, dataset: str, row: ItemRow) -> None:
        """Store an item, and make it known to the models of this data set.

        A process's first text is not waited for: the next look loads the encoder, and takes the item up then.
        """
        for model in self.served.all(dataset):
            if not wait_for_encoder(model, [row]):
                encode(model, [row])
        with self._changing:
            if self.catalogue.put_item(dataset, row) and self.catalogue.hidden_of(dataset, [row.item_id]):
                self.catalogue.change_hidden(dataset, show=[row.item_id])  # it was deleted before
            self._change(dataset, lambda model: self._with_item(model, row))

    def _with_item(self, model: ServedModel, row: ItemRow) -> ServedModel:
        if not wait_for_encoder(model, [row]):
            model = with_items(model, [row])
        return model.with_hidden(self.catalogue)

    def change_hidden(self, dataset: str, hide: Collection[str], show: Collection[str]) -> tuple[int, int]:
        """Hide items and show others; the next answer of each model of the data set follows."""
        with self._changing:
            counts = self.catalogue.change_hidden(dataset, hide, show)
            self._hide(dataset)
        return counts

    def delete_item(self, dataset: str, item_id: str) -> None:
        """Delete an item that no user has taken; no model offers it any more."""
        with self._changing:
            self.catalogue.delete_item(dataset, item_id)
            self._hide(dataset)

    def delete_user(self, dataset: str, user_id: str) -> None:
        """Delete a user's interactions, and the user's memory from all models and jobs of this data set, on disk too.

        Of a job that is running the trainer writes the files; they are erased once it pauses or ends.

        Raises:
            CheckpointError: naming the files that cannot be read or written; all others were erased.
        """
        with self._changing:
            last_id = self.catalogue.delete_user(dataset, user_id).last_id
            self._change(dataset, lambda model: model.forget(user_id, last_id))
        self.eraser.erase(user_id)

    def _change(self, dataset: str, change: Change) -> None:
        """Change the models of a data set: those in memory, and the one that is being loaded once it is."""
        for model in self.served.all(dataset):
            self.served.replace(change(model))
        if self._loading.locked():
            self._meanwhile.append((dataset, change))

    def _with_changes(self, model: ServedModel) -> ServedModel:
        """Bring a model that was loaded up to date with what has changed meanwhile."""
        for dataset, change in self._meanwhile:
            model = change(model) if dataset == model.dataset else model
        model.catch_up(self.catalogue)
        self._meanwhile.clear()
        return model.with_hidden(self.catalogue)

    def erase(self) -> None:
        """Erase from files the deleted users who wait for it, and those whom other machines have erased.

        It may wait for the bucket, so that nothing else is to wait for it: it is done in a thread of its own.
        """
        with self.troubles.apart("the erasure of deleted users"):
            self.eraser.erase_what_waits()
        with self.troubles.apart("the following of runs in the bucket"):
            self.followed.look()

    def catch_up_all(self) -> None:
        """Read what users did since the last look."""
        for model in self.served.all():
            with self.troubles.apart("the reading of new interactions", model.version), self._changing:
                model.catch_up(self.catalogue)

    def forget_all(self) -> None:
        """Forget users who were deleted, by others than this process too."""
        self._renew_all("the forgetting of deleted users", lambda model: model.without_deleted(self.catalogue))

    def hide_all(self) -> None:
        """Leave out what was hidden, and offer what was shown, by others than this process too."""
        self._renew_all("the hiding of items", lambda model: model.with_hidden(self.catalogue))

    def _renew_all(self, what: str, change: Change) -> None:
        for version in [model.version for model in self.served.all()]:
            with self.troubles.apart(what, version), self._changing:
                if (model := self.served.in_memory(version)) is not None:  # as others have changed it meanwhile
                    self._renew(model, change)

    def _renew(self, model: ServedModel, change: Change) -> None:
        changed = change(model)
        if changed is not model:
            self.served.replace(changed)

    def _hide(self, dataset: str) -> None:
        for model in self.served.all(dataset):
            self._renew(model, lambda model: model.with_hidden(self.catalogue))

    def catch_up_with_items(self, between: Callable[[], None]) -> None:
        """Make known to the models what was imported, or put by another process, since the last look.

        Args:
            between: done again and again while texts are encoded, which may take minutes.
        """
        for model in self.served.all():
            with self.troubles.apart("the taking up of changed items", model.version):
                self._take_up_items(model, between)

    def _take_up_items(self, model: ServedModel, between: Callable[[], None]) -> None:
        """Encode the texts of a model's changed items, and take them up."""
        _, rows = self.catalogue.items_since(model.dataset, model.items_version)
        if changed := changed_rows(model.recommender.catalogue, rows):
            self.loader.encode(model, changed, between)
        if rows:
            with self._changing:
                self._read_items(model.version)

    def _read_items(self, version: str) -> None:
        """Take up what has changed, unless the model is no longer in memory; their texts have been encoded."""
        if (model := self.served.in_memory(version)) is not None:
            now, rows = self.catalogue.items_since(model.dataset, model.items_version)
            self.served.replace(replace(with_items(model, rows), items_version=now))

    def catch_up_with_transitions(self) -> None:
        """Let the models count what people did since the last time, a part of all time at most."""
        if self.clock() < self._count_again:
            return
        began = self.clock()
        for model in self.served.all():
            if not model.new_interactions.all_counted:
                with self.troubles.apart("the counting of new interactions", model.version):
                    self._count_new(model.version)
        self._count_again = self.clock() + REST * (self.clock() - began)

    def _count_new(self, version: str) -> None:
        """Count with the others waiting, make the rows while they go on, and put these into service.

        Unless others are by then: a deletion has made some of what was counted, and these hold the deleted user.
        """
        with self._changing:
            model = self.served.in_memory(version)
            if model is None:
                return
            model.count_new()
            before = model.recommender.scorer.transitions
        table = self.loader.table_of(model)
        with self._changing:
            now = self.served.in_memory(version)
            if now is not None and now.recommender.scorer.transitions is before:
                now.recommender.scorer.transitions = table
