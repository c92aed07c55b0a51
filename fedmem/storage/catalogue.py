"""The catalogue: named data sets of items and interactions, in transactions of their own."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence

from sqlalchemy import Connection, Engine

from fedmem.config import ExperimentConfig, Repeats
from fedmem.errors import ConfigError, DataError, UnknownItemError, UnknownUserError
from fedmem.storage import (
    datasets,
    deletions,
    erasures,
    feedback,
    feedback_days,
    hidden_items,
    imports,
    impressions,
    interactions,
    items,
)
from fedmem.storage.catalogue_rows import (
    AppendResult,
    CatalogueSnapshot,
    DatasetRow,
    DeletionResult,
    Event,
    ImportResult,
    InteractionColumns,
    InteractionRow,
    ItemPage,
    ItemRow,
    UserRow,
)
from fedmem.storage.engine import forget_deleted, note_deletion, reading, writing
from fedmem.storage.feedback import FeedbackResult
from fedmem.storage.import_lock import alone
from fedmem.storage.import_writer import Imports, ImportWriter, Progress
from fedmem.storage.impressions import ATTRIBUTION_WINDOW


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _as_said(stored: ItemRow, said: ItemRow) -> ItemRow:
    return said


class CatalogueStore:
    """Every method is done as a whole or, where it raises, not at all, as each is one transaction; ``write`` looks so.

    Each but ``datasets`` and ``write`` raises ``UnknownDatasetError`` for a name that was not imported.

    Args:
        engine: the database.
        window: seconds after an answer in which feedback counts for it, where the answer was sampled.
    """

    def __init__(
        self, engine: Engine, clock: Callable[[], float] = time.time, *, window: float = ATTRIBUTION_WINDOW
    ) -> None:
        self.engine = engine
        self._clock = clock
        self._window = window

    def write(
        self,
        name: str,
        source: str,
        rows: InteractionColumns,
        catalogue: Iterable[ItemRow],
        *,
        merge: items.Merge = _as_said,
        overwrite_edits: bool = False,
        numbered: bool = False,
        repeats: Repeats | None = None,
        progress: Progress = _silent,
    ) -> ImportResult:
        """Import into a data set, created if missing: existing rows stay, and so does what the import does not mention.

        Args:
            name: of the data set.
            source: the file or folder, for people to read.
            rows: in file order. Those of deleted users from before the deletion are left out.
            catalogue: what is said of items; those in ``rows`` alone, or ``described`` by nothing, have their id.
            merge: what a stored item and what is said of it make; by default what is said.
            overwrite_edits: whether items that were put by hand become as described here too.
            numbered: whether the timestamps are row numbers because the file has no times.
            repeats: whether items that a user has taken are offered again; None leaves what was said before.
            progress: called with (stage, done, total).

        Raises:
            DataError: if the name is none, or an item cannot be stored.
            ConflictError: if ``numbered`` rows do not continue those of the last import, or that had times; if all rows
                have steps for times where those of the data set are dates.
        """
        check_name(name)
        taken = set(rows.items)  # what is only known by its id may come from rows that are left out
        described = {row.item_id: row for row in catalogue if row.described or row.item_id not in taken}
        wanted = Imports(name, source, rows, described, merge, overwrite_edits, numbered, repeats)
        with alone(self.engine, lambda: progress("waiting for another import", 0, 1)):
            imports.clear(self.engine)
            return ImportWriter(self.engine, wanted, self._clock(), progress).write()

    def clear(self) -> None:
        """Clear away what an import left that was cut off; not while another is under way, which does so itself."""
        with alone(self.engine) as taken:
            if taken:
                imports.clear(self.engine)

    def remove(self, name: str) -> None:
        """Delete a data set; ``ConflictError`` while jobs refer to it."""
        with alone(self.engine, lambda: None):
            with writing(self.engine) as connection:
                dataset_id = datasets.hide_dataset(connection, name)
            imports.clear_dataset(self.engine, dataset_id)

    def datasets(self) -> list[DatasetRow]:
        """List the data sets with their counts."""
        with reading(self.engine) as connection:
            return datasets.list_datasets(connection)

    def dataset(self, name: str) -> DatasetRow:
        """Return one data set with its counts."""
        with reading(self.engine) as connection:
            return datasets.count_dataset(connection, name)

    def require(self, name: str) -> None:
        """Raise UnknownDatasetError, which names those there are, unless there is a data set of this name."""
        with reading(self.engine) as connection:
            datasets.find_dataset(connection, name)

    def snapshot(self, name: str, until_id: int | None = None) -> CatalogueSnapshot:
        """Read the interactions up to an id (all for None) and the items, as they are at one moment."""
        with reading(self.engine) as connection:
            dataset_id = datasets.find_dataset(connection, name)
            columns, last = interactions.read_columns(connection, dataset_id, until_id)
            return CatalogueSnapshot(columns, tuple(items.all_items(connection, dataset_id)), last)

    def items(self, name: str) -> list[ItemRow]:
        """List the items by id."""
        with reading(self.engine) as connection:
            return items.all_items(connection, datasets.find_dataset(connection, name))

    def items_since(self, name: str, version: int = -1) -> tuple[int, list[ItemRow]]:
        """Return the items' version, and those that have changed since another, by id; -1 is before all."""
        with reading(self.engine) as connection:
            dataset_id = datasets.find_dataset(connection, name)
            now = items.items_version(connection, dataset_id)
            return now, items.items_since(connection, dataset_id, version) if now > version else []

    def find_items(
        self,
        name: str,
        *,
        search: str = "",
        category: str | None = None,
        tags: Collection[str] = (),
        available: bool | None = None,
        offset: int = 0,
        limit: int = 50,
    ) -> ItemPage:
        """Find items whose title contains ``search`` in any case, those that begin with it first, then by title."""
        with reading(self.engine) as connection:
            dataset_id = datasets.find_dataset(connection, name)
            also = () if available is None else (~hidden_items.is_hidden() if available else hidden_items.is_hidden(),)
            return items.find_items(connection, dataset_id, search, category, tags, offset, limit, also)

    def item(self, name: str, item_id: str) -> ItemRow:
        """Return one item, or raise ``UnknownItemError``."""
        with reading(self.engine) as connection:
            found = items.items_by_id(connection, datasets.find_dataset(connection, name), [item_id])
        if item_id not in found:
            raise UnknownItemError(f"the data set {name!r} has no item {item_id!r}")
        return found[item_id]

    def items_by_id(self, name: str, item_ids: Iterable[str]) -> dict[str, ItemRow]:
        """Return those of the items that exist."""
        with reading(self.engine) as connection:
            return items.items_by_id(connection, datasets.find_dataset(connection, name), item_ids)

    def untitled_items(self, name: str) -> set[str]:
        """Return the ids of the items without a title."""
        with reading(self.engine) as connection:
            return items.untitled_items(connection, datasets.find_dataset(connection, name))

    def put_item(self, name: str, item: ItemRow) -> bool:
        """Store an item as it is described here, by hand; whether it is new. ``DataError`` if it cannot be stored."""
        with writing(self.engine) as connection:
            dataset_id = datasets.lock_dataset(connection, name)
            return items.put_item(connection, dataset_id, item, self._clock())

    def change_hidden(self, name: str, hide: Collection[str] = (), show: Collection[str] = ()) -> tuple[int, int]:
        """Hide some items and show others, and return how many of them were not so before.

        Raises:
            UnknownItemError: naming those that the data set lacks; nothing is changed.
            ConflictError: if one is to be hidden and shown.
        """
        with writing(self.engine) as connection:
            dataset_id = datasets.lock_dataset(connection, name)
            return hidden_items.change_hidden(connection, dataset_id, hide, show, self._clock())

    def hidden_since(self, name: str, version: int = -1) -> tuple[int, frozenset[str] | None]:
        """Return what grows as items are hidden or shown, and the hidden items; None where it has not grown."""
        with reading(self.engine) as connection:
            dataset_id = datasets.find_dataset(connection, name)
            now = hidden_items.hidden_version(connection, dataset_id)
            return now, None if now == version else hidden_items.all_hidden(connection, dataset_id)

    def hidden_of(self, name: str, item_ids: Iterable[str]) -> frozenset[str]:
        """Return which of some items are hidden."""
        with reading(self.engine) as connection:
            return hidden_items.all_of(connection, datasets.find_dataset(connection, name), item_ids)

    def delete_item(self, name: str, item_id: str) -> None:
        """Delete an item that no user has taken, or raise ``UnknownItemError`` or ``ConflictError``."""
        with writing(self.engine) as connection:
            dataset_id = datasets.lock_dataset(connection, name)
            hidden_items.delete_item(connection, dataset_id, item_id, self._clock())

    def users(self, name: str, *, search: str = "", after: str | None = None, limit: int = 50) -> list[UserRow]:
        """List the users whose id contains ``search``, in a fixed order, after the user ``after``."""
        with reading(self.engine) as connection:
            dataset_id = datasets.find_dataset(connection, name)
            return interactions.users_page(connection, dataset_id, search, after, limit)

    def user_ids(self, name: str, until_id: int | None = None) -> set[str]:
        """Return the ids of all users with an interaction up to an id (any for None)."""
        with reading(self.engine) as connection:
            dataset_id = datasets.find_dataset(connection, name)
            return set(connection.scalars(interactions.each_user(dataset_id, until_id=until_id)))

    def require_histories(self, name: str, config: ExperimentConfig) -> None:
        """Raise ConfigError where no user's history is long enough for a job that begins anew: it would only fail."""
        least = config.data.min_sequence_length
        with reading(self.engine) as connection:
            dataset_id = datasets.find_dataset(connection, name)
            if config.clients_here and not interactions.any_history_of(connection, dataset_id, least):
                raise ConfigError(
                    f"no user of {name} has data.min_sequence_length = {least} interactions, so there is nothing to "
                    "train on: give more data, or lower it"
                )

    def history(self, name: str, user_id: str) -> list[InteractionRow]:
        """List a user's interactions in order of time; empty for an unknown user."""
        with reading(self.engine) as connection:
            return interactions.history_of(connection, datasets.find_dataset(connection, name), user_id)

    def since(self, name: str, after_id: int, limit: int = interactions.BATCH) -> list[InteractionRow]:
        """List the next interactions after an id, in order of ids. None is ever added below one that was seen."""
        with reading(self.engine) as connection:
            return interactions.rows_after(connection, datasets.find_dataset(connection, name), after_id, limit)

    def add_feedback(self, name: str, events: Sequence[Event], most_per_day: int | None = None) -> AppendResult:
        """Store events; one of the same user, item and time as a row that is there is counted and left out.

        Those of deleted users from before the deletion are left out too; later ones are of users who came back.
        Of one user at most ``most_per_day`` new ones are taken in a day (UTC), any number for None.

        Raises:
            TooMuchError: if they are more; nothing is stored.
            UnknownItemError: if the data set lacks an item.
            DataError: if a time is not finite, or a step where all times of the data set are dates, or an id is no
                text.
        """
        with writing(self.engine) as connection:
            taken = self._take(connection, name, events, most_per_day)
            if taken.refused:
                raise feedback.refusal(name, events, taken.refused)
        return taken.added

    def take_feedback(self, name: str, events: Sequence[Event], most_per_day: int | None = None) -> FeedbackResult:
        """Store events as ``add_feedback`` does, but those that cannot be stored cost only themselves."""
        with writing(self.engine) as connection:
            return self._take(connection, name, events, most_per_day)

    def _take(
        self, connection: Connection, name: str, events: Sequence[Event], most_per_day: int | None
    ) -> FeedbackResult:
        dataset_id = datasets.lock_dataset(connection, name)
        now = self._clock()
        return feedback.Feedback(connection, dataset_id, name, most_per_day, now, self._window).take(events)

    def readmit_user(self, name: str, user_id: str) -> None:
        """Let a deleted user's earlier interactions in again, by the next import or feedback that holds them.

        Raises:
            UnknownUserError: if no user of this id was deleted.
        """
        with writing(self.engine) as connection:
            dataset_id = datasets.lock_dataset(connection, name)
            if not deletions.forget_deletion(connection, dataset_id, user_id):
                raise UnknownUserError(f"no user {user_id!r} was deleted from the data set {name!r}")

    def deletion_state(self, name: str) -> tuple[float, ...]:
        """Return what changes as users are deleted, or let in again."""
        with reading(self.engine) as connection:
            return deletions.deletion_state(connection, datasets.find_dataset(connection, name))

    def first_rows_of_deleted(self, name: str, user_ids: Collection[str]) -> dict[str, int | None]:
        """Return those of some users who were deleted, with the id of the first interaction since; None without one."""
        with reading(self.engine) as connection:
            dataset_id = datasets.find_dataset(connection, name)
            deleted = deletions.deleted_users(connection, dataset_id, user_ids)
            return {user: interactions.first_of(connection, dataset_id, user) for user in sorted(deleted)}

    def forget_deleted(self) -> bool:
        """Rid the database's files of deleted users, and say whether they are; see ``engine.forget_deleted``."""
        return forget_deleted(self.engine)

    def delete_user(self, name: str, user_id: str) -> DeletionResult:
        """Delete a user's interactions for good, and note that the jobs' checkpoints are to be rid of the user too."""
        with writing(self.engine) as connection:
            dataset_id = datasets.lock_dataset(connection, name)
            deletions.remember_deletion(connection, dataset_id, user_id, self._clock())
            erasures.ask_of_dataset(connection, dataset_id, user_id)
            feedback_days.forget_days(connection, dataset_id, user_id)
            impressions.forget_user(connection, dataset_id, user_id)
            note_deletion(connection)
            return interactions.delete_user(connection, dataset_id, user_id)


def check_name(name: str) -> None:
    """Raise ``DataError`` unless the name is printable, has no space around it, and could be a folder's."""
    if not name.strip() or name != name.strip() or not name.isprintable() or name.startswith(".") or "/" in name:
        raise DataError(f"{name!r} cannot name a data set: use letters, digits, dots and dashes")
