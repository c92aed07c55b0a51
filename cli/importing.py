"""Files into a data set of the database, for ``fedmem data import`` and the demo."""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cli.screen import answer_json, answers, notes, stages
from fedmem.data.interactions import Interactions, Item
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Imported, InteractionColumns, ItemRow

Progress = Callable[[str, int, int], None]


def run_import(
    store: CatalogueStore, name: str, data: Path, interactions: Interactions, items: list[Item], *, as_json: bool
) -> None:
    """Write what was read of ``data`` to the database, whole or not at all, and say what changed."""
    began = time.monotonic()
    try:
        with stages() as progress:
            imported = import_dataset(store, name, data, interactions, items, progress)
    except KeyboardInterrupt:
        notes.print(f"interrupted: nothing was stored in {name}")
        sys.exit(130)
    _conclude(store, name, imported, interactions, time.monotonic() - began, as_json=as_json)


def import_dataset(
    store: CatalogueStore, name: str, data: Path, interactions: Interactions, items: list[Item], progress: Progress
) -> Imported:
    """Write what was read of ``data`` to a data set of the catalogue, in one transaction."""
    rows = interactions.without_duplicates()
    if rows.duplicates_dropped:
        notes.print(f"{rows.duplicates_dropped:,} rows repeat another's user, item and time: kept once")
    return store.write(
        name,
        str(data.resolve()),
        InteractionColumns(rows.users, rows.items, rows.timestamps.astype(np.float64)),
        map(item_row, items),
        numbered=rows.numbered,
        progress=progress,
    )


def item_row(item: Item) -> ItemRow:
    """An item as the database holds it."""
    path = None if item.image_path is None else str(item.image_path.absolute())
    return ItemRow(item.item_id, item.title, item.genres, item.year, path, item.text)


def _conclude(
    store: CatalogueStore, name: str, imported: Imported, read: Interactions, seconds: float, *, as_json: bool
) -> None:
    there = store.dataset(name)
    if as_json:
        record = {**dataclasses.asdict(there), **dataclasses.asdict(imported)}
        left_out = {"rows_skipped": read.rows_skipped, "not_liked": read.not_liked, "left_out": dict(read.left_out)}
        answer_json({**record, **left_out, "seconds": round(seconds, 3)})
        return
    known = f" ({imported.known_interactions:,} were there already)" if imported.known_interactions else ""
    changed = f", {imported.changed_items:,} items changed" if imported.changed_items else ""
    answers.print(
        f"{name}: {imported.new_interactions:,} new interactions{known}, {imported.new_items:,} new items{changed}, "
        f"in {seconds:.1f} s"
    )
    notes.print(f"it holds {there.users:,} users, {there.items:,} items and {there.interactions:,} interactions")
