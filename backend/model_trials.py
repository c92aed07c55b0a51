"""Lets models that A/B tests try answer their share of the users, as the database names the tests that run."""

import logging
from contextlib import suppress
from dataclasses import dataclass

from backend.failures import Failures
from backend.model_changes import ModelChanges
from backend.served_model import ServedModel
from backend.served_models import ServedModels
from fedmem.errors import ConflictError, UnknownModelError
from fedmem.storage.ab_rows import AbTestRow
from fedmem.storage.ab_tests import AbTestStore
from fedmem.storage.models import ModelStore

LOG = logging.getLogger(__name__)
TAKING_UP = "the taking up of A/B tests"


@dataclass(eq=False)
class ModelTrials:
    """Follows the A/B tests; everything here may block and is called in a thread.

    Attributes:
        tests: which there are.
        models: the versions.
        served: told which tests split the users.
        changes: takes in the models that are tried.
        troubles: what could not be done at the last look.
    """

    tests: AbTestStore
    models: ModelStore
    served: ServedModels
    changes: ModelChanges
    troubles: Failures

    def expect(self, datasets: set[str]) -> None:
        """Let the tests of data sets that no model has answered for split the users before one does.

        Else the treatment's users would have the control's answers until it is loaded, too.
        """
        if datasets:
            with self.troubles.apart(TAKING_UP):
                begun = [test for test in self.tests.running() if test.dataset in datasets and self._is_whole(test)]
                self.served.test([*self.served.tests.values(), *begun])

    def load_for(self, dataset: str) -> None:
        """Load the model that is tried before the first that answers for a data set: from then on both do."""
        test = self.served.tests.get(dataset)
        if test is not None and self.served.loaded(dataset) is None:
            with self.troubles.apart(TAKING_UP):
                self.treatment_of(test)

    def take_up(self) -> None:
        """Let the tests that run by now split the users, once their treatments are in memory."""
        with self.troubles.apart(TAKING_UP), self.changes.loading():
            self.follow()

    def follow(self) -> None:
        """Do the same where no other model is being loaded."""
        known = {test.id for test in self.served.tests.values()}
        running = [test for test in self.tests.running() if self._is_whole(test)]
        self.served.test([test for test in running if test.id in known or self._held(test) is not None])

    def treatment_of(self, test: AbTestRow) -> ServedModel | None:
        """Get the model that is tried; where it cannot be served the control answers all users from now on."""
        model = self._held(test)
        if model is None:
            self.follow()
        return model

    def start(self, treatment: str, share: float) -> AbTestRow:
        """Let a model answer a share of its data set's users; one that cannot be served is not tried.

        Raises:
            UnknownModelError: if there is none of that name.
            ConflictError: if it cannot be tried.
        """
        if not self.served.holds_two:
            raise ConflictError("an A/B test has two models in memory: set FEDMEM_MODELS_IN_MEMORY to 2 or more")
        with self.changes.loading():
            model = self.changes.prepared(self.models.get(treatment))
            test = self.tests.start(treatment, share)
            self.changes.take_in(model, self.served.hold)
            self.follow()
        LOG.info(
            "A/B test %d: model %s answers %.0f %% of the users of %s", test.id, treatment, 100 * share, test.dataset
        )
        return test

    def stop(self, test_id: int, because: str) -> AbTestRow:
        """End a test: the control answers all users from now on.

        Raises:
            UnknownTestError: if there is none of that number.
            ConflictError: if it has ended.
        """
        test = self.tests.stop(test_id, because)
        self.take_up()
        return test

    def _is_whole(self, test: AbTestRow) -> bool:
        """Say whether a test can split users; one whose row is damaged ends."""
        if test.damage is not None:
            self._end(test, f"its row in the database is damaged: {test.damage}")
        return test.damage is None

    def _end(self, test: AbTestRow, because: str) -> None:
        LOG.error("A/B test %d ends: %s", test.id, because)
        with suppress(ConflictError):  # it has been stopped
            self.tests.stop(test.id, because)

    def _held(self, test: AbTestRow) -> ServedModel | None:
        """Have the model that is tried in memory; where it cannot be served the test ends."""
        try:
            model = self.changes.prepared(self.models.get(test.treatment))
        except (ConflictError, UnknownModelError) as error:
            self._end(test, f"its treatment could not be served: {error}")
            return None
        self.changes.take_in(model, self.served.hold)
        return self.served.in_memory(test.treatment)
