"""Keeps the models in service up to date with the database: versions, interactions, items, users who were deleted."""

import logging
import math
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace

from backend.awaited import awaited
from backend.eraser import Eraser
from backend.model_loader import ModelLoader
from backend.served_items import changed_rows, encode, wait_for_encoder, with_items
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from backend.telemetry import ModelMetrics
from backend.troubles import Troubles
from fedmem.errors import ConflictError, StorageError, UnknownModelError
from fedmem.process_memory import give_back
from fedmem.storage.ab_rows import AbTestRow
from fedmem.storage.ab_tests import AbTestStore
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from fedmem.storage.jobs import JobStore
from fedmem.storage.models import ModelRow, ModelStore

LOG = logging.getLogger(__name__)

REST = 4  # how much longer than the making of rows is the time until they are made again

Change = Callable[[ServedModel], ServedModel]


@dataclass(eq=False)
class ModelKeeper:
    """Swaps models, and tells them what has changed; everything here may block and is called in a thread.

    Attributes:
        models: the versions and which are active.
        tests: the A/B tests.
        jobs: those that will bring the first model.
        catalogue: items and interactions.
        loader: makes models of checkpoints.
        eraser: rids files of deleted users.
        served: the references that are swapped.
        metrics: swaps are counted.
        troubles: what could not be done at the last look.
    """

    models: ModelStore
    tests: AbTestStore
    jobs: JobStore
    catalogue: CatalogueStore
    loader: ModelLoader
    eraser: Eraser
    served: ServedModels
    metrics: ModelMetrics
    clock: Callable[[], float] = time.monotonic
    troubles: Troubles = field(default_factory=Troubles)
    _count_again: float = -math.inf
    _loading: threading.Lock = field(default_factory=threading.Lock)
    _changing: threading.Lock = field(default_factory=threading.Lock)
    _meanwhile: list[tuple[str, Change]] = field(default_factory=list)

    def look(self) -> None:
        """Erase who waits for it, serve what is active by now, and read what users did and how items changed meanwhile.

        What goes wrong with one model or one of these keeps no other waiting; it is in ``troubles``.

        Raises:
            StorageError: if the database could not be used; all was tried.
        """
        self._try_all(*self._soon(), self._catch_up_with_items, self._catch_up_with_transitions)
        self.troubles.keep({model.version for model in self.served.all()} | {*self.served.in_service.values()})

    def _soon(self) -> tuple[Callable[[], None], ...]:
        """List what is done at every look, and in a long one again and again."""
        return (
            self._erase,
            self._serve_active,
            self._take_up_tests,
            self._forget_all,
            self._catch_up_all,
            self._hide_all,
        )

    def _try_all(self, *works: Callable[[], None]) -> None:
        failures = []
        for work in works:
            try:
                work()
            except StorageError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _erase(self) -> None:
        with self.troubles.apart("the erasure of deleted users"):
            self.eraser.erase_what_waits()

    def _serve_active(self) -> None:
        with self._loading:
            self._meanwhile.clear()
            active = self.models.all_active()
            self._forget_removed({row.dataset for row in active})
            self.served.expect({row.dataset: row.version for row in active if not self.loader.refused_lately(row)})
            for row in sorted(active, key=lambda row: row.dataset != self.served.unnamed):
                if self._is_wanted(row):
                    with self.troubles.apart("the loading", row.version):
                        self._serve(row)
        if not self.served.in_service:
            self.served.awaited = awaited(self.jobs)

    def _forget_removed(self, there: set[str]) -> None:
        """Let data sets that were removed, with the models that served them, be answered no more."""
        for dataset in self.served.known - there:
            with self._changing:
                self.served.forget(dataset)
            LOG.info("no model of data set %s is in service any more: it was removed", dataset)

    def _catch_up_all(self) -> None:
        for model in self.served.all():
            with self.troubles.apart("the reading of new interactions", model.version), self._changing:
                model.catch_up(self.catalogue)

    def _forget_all(self) -> None:
        """Forget users who were deleted, by others than this process too."""
        self._renew_all("the forgetting of deleted users", lambda model: model.without_deleted(self.catalogue))

    def _hide_all(self) -> None:
        """Leave out what was hidden, and offer what was shown, by others than this process too."""
        self._renew_all("the hiding of items", lambda model: model.with_hidden(self.catalogue))

    def _renew_all(self, what: str, change: Change) -> None:
        for model in self.served.all():
            with self.troubles.apart(what, model.version), self._changing:
                self._renew(model, change)

    def _renew(self, model: ServedModel, change: Change) -> None:
        changed = change(model)
        if changed is not model:
            self.served.replace(changed)

    def _hide(self, dataset: str) -> None:
        for model in self.served.all(dataset):
            self._renew(model, lambda model: model.with_hidden(self.catalogue))

    def _take_up_tests(self) -> None:
        """Let the A/B tests that run by now split the users, once their treatments are in memory."""
        with self.troubles.apart("the taking up of A/B tests"), self._loading:
            self._meanwhile.clear()
            self._follow_tests()

    def _follow_tests(self) -> None:
        known = {test.id for test in self.served.tests.values()}
        running = [test for test in self.tests.running() if self._is_whole(test)]
        self.served.test([test for test in running if test.id in known or self._treatment(test) is not None])

    def _is_whole(self, test: AbTestRow) -> bool:
        """Say whether a test can split users; one whose row is damaged ends."""
        if test.damage is not None:
            self._end(test, f"its row in the database is damaged: {test.damage}")
        return test.damage is None

    def _end(self, test: AbTestRow, because: str) -> None:
        LOG.error("A/B test %d ends: %s", test.id, because)
        with suppress(ConflictError):  # it has been stopped
            self.tests.stop(test.id, because)

    def _treatment(self, test: AbTestRow) -> ServedModel | None:
        """Get the model that is tried; where it cannot be served the test ends."""
        try:
            model = self._prepared(self.models.get(test.treatment))
        except (ConflictError, UnknownModelError) as error:
            self._end(test, f"its treatment could not be served: {error}")
            return None
        self._hold(model)
        return self.served.in_memory(test.treatment)

    def _hold(self, model: ServedModel) -> None:
        with self._changing:
            self._say_who_left(self.served.hold(self._with_changes(model)))

    def start_test(self, treatment: str, share: float) -> AbTestRow:
        """Let a model answer a share of its data set's users; one that cannot be served is not tried.

        Raises:
            UnknownModelError: if there is none of that name.
            ConflictError: if it cannot be tried.
        """
        if not self.served.holds_two:
            raise ConflictError("an A/B test has two models in memory: set FEDMEM_MODELS_IN_MEMORY to 2 or more")
        with self._loading:
            self._meanwhile.clear()
            model = self._prepared(self.models.get(treatment))
            test = self.tests.start(treatment, share)
            self._hold(model)
            self._follow_tests()
        LOG.info(
            "A/B test %d: model %s answers %.0f %% of the users of %s", test.id, treatment, 100 * share, test.dataset
        )
        return test

    def stop_test(self, test_id: int, because: str) -> AbTestRow:
        """End a test: the control answers all users from now on.

        Raises:
            UnknownTestError: if there is none of that number.
            ConflictError: if it has ended.
        """
        test = self.tests.stop(test_id, because)
        self._take_up_tests()
        return test

    def bring(self, dataset: str, test: AbTestRow | None = None) -> ServedModel:
        """Load the model in service of a data set, or the treatment of its A/B test, unless it is in memory.

        Where the treatment cannot be served the model in service answers.

        Raises:
            NotReadyError: if it cannot be served, and no other of the data set can.
        """
        with self._loading:
            self._meanwhile.clear()
            if test is not None and (model := self._treatment(test)) is not None:
                return model
            if test is not None:
                self._follow_tests()
            row = self.models.active(dataset)
            if row is not None and self.served.loaded(dataset) is None:
                self._serve(row)
        return self.served.of(dataset=dataset)

    def activate(self, version: str, reason: str) -> ModelRow:
        """Serve a version from now on; one that cannot be served is not activated.

        Raises:
            UnknownModelError: if there is none of that name.
            ConflictError: if its checkpoint is gone or broken; the model in service stays.
        """
        return self._put(
            lambda: self._prepared(self.models.get(version)), lambda: self.models.activate(version, reason)
        )

    def roll_back(self, dataset: str) -> ModelRow:
        """Serve again what served a data set before, past what can no longer be served.

        Raises:
            ConflictError: if nothing did, or none of it can be served; the model in service stays.
        """
        active = self.models.active(dataset)
        passed: list[str] = []

        def note() -> ModelRow:
            past = f", past {', '.join(passed)}, which cannot be served" if passed else ""
            reason = f"rolled back from {active.version}{past}" if active else "rolled back"
            return self.models.roll_back(dataset, reason, passed)

        return self._put(lambda: self._prepared_before(dataset, passed), note)

    def _prepared_before(self, dataset: str, passed: list[str]) -> ServedModel:
        """Get what served a data set before and can be served; what cannot is added to those that were passed."""
        refused = ""
        while True:
            try:
                row = self.models.before(dataset, passed)
            except ConflictError as error:
                raise ConflictError(f"{refused}{error}") from None
            try:
                return self._prepared(row)
            except ConflictError as error:
                passed.append(row.version)
                refused += f"{error}; "

    def _put(self, prepare: Callable[[], ServedModel], note: Callable[[], ModelRow]) -> ModelRow:
        """Load a version, and serve it once the database names it."""
        with self._loading:
            self._meanwhile.clear()  # what was stored until now is in the models in memory, and read from the database
            model = prepare()
            row = note()
            self._swap(model)
            self._follow_tests()  # one that this has ended
            return row

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

    def _is_wanted(self, row: ModelRow) -> bool:
        """Say whether an active version is to be loaded now; where memory is full it waits until it is asked for."""
        current = self.served.loaded(row.dataset)
        return self.served.room if current is None else current.version != row.version

    def _serve(self, row: ModelRow) -> None:
        """Put a version into service if it can be; where none of its data set is, another stands in."""
        if not self.loader.refused_lately(row):
            self._try(row)
        if self.served.loaded(row.dataset) is None:
            self._stand_in(row)
        if self.served.loaded(row.dataset) is None:
            self.served.withdraw(row.dataset, self._why_not(row))

    def _try(self, row: ModelRow) -> None:
        try:
            self._swap(self._prepared(row))
        except ConflictError as error:
            LOG.error("%s; what was in service stays", error)

    def _stand_in(self, active: ModelRow) -> None:
        """Serve another model of the same data that can be, where the one to serve cannot and none was before."""
        for row in self.models.stand_ins(active):
            if not self.loader.refused_lately(row):
                self._try(row)
                if self.served.loaded(active.dataset) is not None:
                    LOG.warning("model %s stands in for %s until that can be served", row.version, active.version)
                    return

    def _why_not(self, row: ModelRow) -> str:
        refused = self.loader.refusals.get(row.version)
        return f"{row.version} was refused" + ("" if refused is None else f": {refused.reason}")

    def _prepared(self, row: ModelRow) -> ServedModel:
        """Get a version that has answered once, from memory if it is there."""
        return self.served.in_memory(row.version) or self.loader.load(row)

    def _swap(self, model: ServedModel) -> None:
        with self._changing:
            model = self._with_changes(model)
            before = self.served.loaded(model.dataset)
            gone = self.served.swap(model)
        self.metrics.swapped(model.dataset, model.version, model.recommender.round)
        LOG.info("%s", _swap_message(model, before))
        self._say_who_left(gone)
        give_back(circles=False)

    def _with_changes(self, model: ServedModel) -> ServedModel:
        """Bring a model that was loaded up to date with what has changed meanwhile."""
        for dataset, change in self._meanwhile:
            model = change(model) if dataset == model.dataset else model
        model.catch_up(self.catalogue)
        self._meanwhile.clear()
        return model.with_hidden(self.catalogue)

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

    def _catch_up_with_items(self) -> None:
        """Make known to the models what was imported, or put by another process, since the last look."""
        for model in self.served.all():
            with self.troubles.apart("the taking up of changed items", model.version):
                self._take_up_items(model)

    def _take_up_items(self, model: ServedModel) -> None:
        """Encode the texts of a model's changed items, which may take minutes, and take them up."""
        _, rows = self.catalogue.items_since(model.dataset, model.items_version)
        if changed := changed_rows(model.recommender.catalogue, rows):
            self.loader.encode(model, changed, self._between)
        if rows:
            with self._changing:
                self._read_items(model.version)

    def _between(self) -> None:
        with suppress(StorageError):  # one that lasts is told by the next look
            self._try_all(*self._soon())

    def _read_items(self, version: str) -> None:
        """Take up what has changed, unless the model is no longer in memory; their texts have been encoded."""
        if (model := self.served.in_memory(version)) is not None:
            now, rows = self.catalogue.items_since(model.dataset, model.items_version)
            self.served.replace(replace(with_items(model, rows), items_version=now))

    def _catch_up_with_transitions(self) -> None:
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


def _swap_message(model: ServedModel, before: ServedModel | None) -> str:
    what = f"model {model.version} of data set {model.dataset}"
    if before is None or before.version == model.version:
        return f"{what} is in service"
    return f"{what} replaces {before.version}"
