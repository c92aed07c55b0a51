"""A model version in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from backend.new_interactions import NewInteractions
from fedmem.serving import Recommender
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionRow

PAGE = 10_000  # interactions read at once


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model version in memory; never changed, but replaced.

    Attributes:
        recommender: answers.
        dataset: the name of the data set it was trained on.
        job_id: the job that left it; None for a run without a database.
        new_interactions: what users did since its snapshot.
        items_version: the version of the data set's items that it knows.
        hidden_version: that of those that are hidden.
        deletion_state: what changes as users of the data set are deleted; the model knows no user who was by then.
    """

    recommender: Recommender
    dataset: str
    job_id: int | None
    new_interactions: NewInteractions
    items_version: int = -1
    hidden_version: int = -1
    deletion_state: tuple[float, ...] = ()

    @classmethod
    def of_run(cls, recommender: Recommender, since: Mapping[str, Sequence[str]] | None = None) -> "ServedModel":
        """Serve a run directory's model, without a database behind it.

        ``since`` are the ids of the items that users took after what it knows of them, oldest first, by user.
        """
        new = NewInteractions(0)
        taken = ((user_id, item_id) for user_id, items in (since or {}).items() for item_id in items)
        new.add(InteractionRow(number, *one, timestamp=number) for number, one in enumerate(taken, start=1))
        return cls(recommender, recommender.dataset.name, None, new)

    @property
    def version(self) -> str:
        """The model's name."""
        return self.recommender.model_version

    def catch_up(self, catalogue: CatalogueStore) -> None:
        """Read the interactions that came since the last time; they count from the next answer on."""
        while rows := catalogue.since(self.dataset, self.new_interactions.last_id, PAGE):
            self.new_interactions.add(rows)

    def with_hidden(self, catalogue: CatalogueStore) -> "ServedModel":
        """Make the model that leaves out what is hidden now; the same where that has not changed."""
        version, hidden = catalogue.hidden_since(self.dataset, self.hidden_version)
        if hidden is None:
            return self
        return replace(self, recommender=self.recommender.with_hidden(hidden), hidden_version=version)

    def without_deleted(self, catalogue: CatalogueStore) -> "ServedModel":
        """Forget users who were deleted since the last look; the same model where none was."""
        state = catalogue.deletion_state(self.dataset)
        if state == self.deletion_state:
            return self
        new = self.new_interactions
        known = {*self.recommender.dataset.vocabulary.known_users, *new.users}
        for user_id, first in catalogue.first_rows_of_deleted(self.dataset, known).items():
            until_id = new.last_id if first is None else first - 1
            # Else the snapshot is newer than the deletion, and holds what was done since.
            of_snapshot = until_id >= new.after_id and self.recommender.user_index(user_id) is not None
            if of_snapshot or new.has_until(user_id, until_id):
                self.forget(user_id, until_id)
        return replace(self, deletion_state=state)

    def forget(self, user_id: str, until_id: int) -> "ServedModel":
        """Forget what a user did up to an id; of a return after that a model may know already. Returns the same."""
        counted = self.new_interactions.forget(user_id, until_id)
        self.recommender.forget_user(user_id, counted)
        return self

    def count_new(self) -> None:
        """Count among the transitions what came since the last time; they are read once the recommender refreshes."""
        self.recommender.count(self.new_interactions.take_changes())

    def knows(self, user_id: str) -> bool:
        """Say whether anything is known of a user."""
        return user_id in self.new_interactions or self.recommender.user_index(user_id) is not None
