"""One import, from the first row to the moment at which it is seen."""

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from fedmem.config import Repeats
from fedmem.errors import StorageError
from fedmem.storage import deletions, imports, interactions, items
from fedmem.storage.catalogue_rows import ImportResult, InteractionColumns, ItemCounts, ItemRow
from fedmem.storage.engine import reading, writing
from fedmem.storage.imported_times import check_times, moved
from fedmem.storage.turns import PIECE, in_turns, split

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Imports:
    """What is to be written, as ``CatalogueStore.write`` has it; of the items ``described`` something is said."""

    name: str
    source: str
    rows: InteractionColumns
    described: Mapping[str, ItemRow]
    merge: items.Merge
    overwrite_edits: bool
    numbered: bool
    repeats: Repeats | None


class ImportWriter:
    """Writes an import; no other may be under way.

    Args:
        engine: the database.
        wanted: what is to be written.
        now: the time of the import.
        progress: called with (stage, done, total).
    """

    def __init__(self, engine: Engine, wanted: Imports, now: float, progress: Progress) -> None:
        self._engine, self._wanted, self._now, self._progress = engine, wanted, now, progress
        self._items, self._added, self._known = ItemCounts(), 0, 0
        with writing(engine) as connection:
            self._mine = imports.begin(connection, wanted.name, wanted.source, now)
        self._edition = items.Edition(self._mine.dataset_id, self._mine.first, now)

    def write(self) -> ImportResult:
        """Write all, let it be seen, and clear away what is not seen: all of it, where something is raised."""
        try:
            kept, earlier = self._checked()
            self._write_items(set(kept.items).difference(self._wanted.described))
            self._write_rows(kept)
            if earlier > self._known:
                raise moved(self._wanted.name, self._wanted.source, earlier - self._known)
            with writing(self._engine) as connection:
                last_id = self._mine.first + len(kept)
                imports.publish(connection, self._mine, last_id, self._wanted.source, self._wanted.repeats, self._now)
        finally:
            with contextlib.suppress(StorageError):  # then the next import does it
                imports.settle(self._engine, self._mine)
        counts, left_out = self._items, len(self._wanted.rows) - self._added - self._known
        return ImportResult(
            self._added, self._known, left_out, counts.new, counts.changed, counts.kept, counts.edits_kept
        )

    def _checked(self) -> tuple[InteractionColumns, int]:
        """Return the rows of users who were not deleted, and how many must be there already."""
        dataset_id, rows = self._mine.dataset_id, self._wanted.rows
        with reading(self._engine) as connection:
            kept = deletions.without_deleted(connection, dataset_id, rows)
            earlier = check_times(
                connection,
                dataset_id,
                rows,
                kept,
                name=self._wanted.name,
                source=self._wanted.source,
                numbered=self._wanted.numbered,
            )
        return kept, earlier

    def _write_items(self, mentioned: Collection[str]) -> None:
        in_turns(self._engine, split(self._wanted.described.values()), self._write_described)
        in_turns(self._engine, split(sorted(mentioned)), self._write_mentioned)

    def _write_described(self, connection: Connection, said: list[ItemRow]) -> None:
        imports.lock(connection, self._mine)
        self._items += items.merge_items(
            connection, self._edition, said, self._wanted.merge, self._wanted.overwrite_edits
        )

    def _write_mentioned(self, connection: Connection, item_ids: list[str]) -> None:
        imports.lock(connection, self._mine)
        self._items += items.add_items(connection, self._edition, item_ids)

    def _write_rows(self, kept: InteractionColumns) -> None:
        done = 0

        def write(connection: Connection, rows: InteractionColumns) -> None:
            nonlocal done
            imports.lock(connection, self._mine)
            there = deletions.without_deleted(connection, self._mine.dataset_id, rows)
            added = interactions.add_interactions(connection, self._mine.dataset_id, there, self._mine.first + done)
            self._added, self._known, done = self._added + added, self._known + len(there) - added, done + len(rows)
            self._progress("interactions", done, len(kept))

        in_turns(self._engine, kept.batches(PIECE), write)
