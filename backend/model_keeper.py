"""Keeps in service the models that the database names: activation, rollback, and which are in memory."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from backend.failures import Failures
from backend.first_model import first_model_hint
from backend.model_changes import ModelChanges
from backend.model_loader import ModelLoader
from backend.model_trials import ModelTrials
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from backend.telemetry import ModelMetrics
from fedmem.errors import ConflictError, StorageError
from fedmem.logs import EXTRA, about
from fedmem.process_memory import give_back
from fedmem.storage.ab_rows import AbTestRow
from fedmem.storage.jobs import JobStore
from fedmem.storage.models import ModelRow, ModelStore

LOG = logging.getLogger(__name__)


@dataclass(eq=False)
class ModelKeeper:
    """Swaps models, and has them told what has changed; everything here may block and is called in a thread.

    Attributes:
        models: the versions and which are active.
        trials: the models that A/B tests try.
        jobs: those that will bring the first model.
        loader: makes models of checkpoints.
        served: the references that are swapped.
        changes: tells the models in memory what has changed.
        metrics: swaps are counted.
        troubles: what could not be done at the last look.
    """

    models: ModelStore
    trials: ModelTrials
    jobs: JobStore
    loader: ModelLoader
    served: ServedModels
    changes: ModelChanges
    metrics: ModelMetrics
    troubles: Failures
    _said: str = ""

    def look(self) -> None:
        """Serve what is active by now, and read what users did and how items changed meanwhile.

        What goes wrong with one model or one of these keeps no other waiting; it is in ``troubles``.

        Raises:
            StorageError: if the database could not be used; all was tried.
        """
        items = partial(self.changes.catch_up_with_items, self._between)
        self._try_all(*self._soon(), items, self.changes.catch_up_with_transitions)
        self.troubles.keep({model.version for model in self.served.all()} | {*self.served.in_service.values()})

    def _soon(self) -> tuple[Callable[[], None], ...]:
        """List what is done at every look, and in a long one again and again."""
        return (
            self._serve_active,
            self.trials.take_up,
            self.changes.forget_all,
            self.changes.catch_up_all,
            self.changes.hide_all,
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

    def _serve_active(self) -> None:
        with self.changes.loading():
            active = self.models.all_active()
            there = {row.dataset for row in active}
            self._forget_removed(there)
            self.trials.expect(there - self.served.known)
            self.served.expect({row.dataset: row.version for row in active if not self.loader.refused_lately(row)})
            for row in sorted(active, key=lambda row: row.dataset != self.served.unnamed):
                if self._is_wanted(row):
                    with about(dataset=row.dataset, job=row.job_id), self.troubles.apart("the loading", row.version):
                        self.trials.load_for(row.dataset)
                        self._serve(row)
        if not self.served.in_service:
            self.served.hint = first_model_hint(self.jobs, self.changes.catalogue)

    def _forget_removed(self, there: set[str]) -> None:
        """Let data sets that were removed, with the models that served them, be answered no more."""
        for dataset in self.served.known - there:
            self.changes.forget(dataset)
            self.metrics.removed(dataset)
            said = {EXTRA: {"dataset": dataset}}
            LOG.info("no model of data set %s is in service any more: it was removed", dataset, extra=said)

    def bring(self, dataset: str, test: AbTestRow | None = None) -> ServedModel:
        """Load the model in service of a data set, or the treatment of its A/B test, unless it is in memory.

        Where the treatment cannot be served the model in service answers.

        Raises:
            NotReadyError: if it cannot be served, and no other of the data set can.
        """
        with self.changes.loading():
            if test is not None and (model := self.trials.treatment_of(test)) is not None:
                return model
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
            lambda: self.changes.prepared(self.models.get(version)), lambda: self.models.activate(version, reason)
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
                return self.changes.prepared(row)
            except ConflictError as error:
                passed.append(row.version)
                refused += f"{error}; "

    def _put(self, prepare: Callable[[], ServedModel], note: Callable[[], ModelRow]) -> ModelRow:
        """Load a version, and serve it once the database names it."""
        with self.changes.loading():
            model = prepare()
            row = note()
            self._swap(model)
            self.trials.follow()  # one that this has ended
            return row

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
            self._swap(self.changes.prepared(row))
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

    def _swap(self, model: ServedModel) -> None:
        before = self.served.loaded(model.dataset)
        self.changes.take_in(model, self.served.swap)
        self.metrics.swapped(model.dataset, model.version, model.recommender.round)
        with about(dataset=model.dataset, job=model.job_id):
            LOG.info("%s", _swap_message(model, before))
        self._say_what_must_be_named()
        give_back(circles=False)

    def _say_what_must_be_named(self) -> None:
        """Warn once where requests that name no data set are refused from now on."""
        if (trouble := self.served.trouble) and trouble != self._said:
            LOG.warning("%s", trouble)
        self._said = trouble

    def _between(self) -> None:
        with suppress(StorageError):  # one that lasts is told by the next look
            self._try_all(*self._soon())


def _swap_message(model: ServedModel, before: ServedModel | None) -> str:
    what = f"model {model.version} of data set {model.dataset}"
    if before is None or before.version == model.version:
        return f"{what} is in service"
    return f"{what} replaces {before.version}"
