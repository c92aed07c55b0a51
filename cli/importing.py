"""Files into a data set of the database, for ``fedmem data import`` and the demo."""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cli.screen import answer_json, answers, counted, notes, stages
from fedmem.config import Repeats
from fedmem.data.formats.titles import description_in, item_text
from fedmem.data.interactions import Interactions, Item
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import DatasetRow, Imported, InteractionColumns, ItemRow

Progress = Callable[[str, int, int], None]


def run_import(
    store: CatalogueStore,
    name: str,
    data: Path,
    interactions: Interactions,
    items: list[Item],
    *,
    overwrite_edits: bool,
    repeats: Repeats | None,
    as_json: bool,
) -> None:
    """Write what was read of ``data`` to the database, whole or not at all, and say what changed."""
    began = time.monotonic()
    rows = interactions.without_duplicates()
    try:
        with stages() as progress:
            imported = import_dataset(
                store, name, data, rows, items, progress, overwrite_edits=overwrite_edits, repeats=repeats
            )
    except KeyboardInterrupt:
        notes.print(f"interrupted: nothing was stored in {name}")
        sys.exit(130)
    _conclude(store.dataset(name), imported, rows, time.monotonic() - began, as_json=as_json)


def import_dataset(
    store: CatalogueStore,
    name: str,
    data: Path,
    interactions: Interactions,
    items: list[Item],
    progress: Progress,
    *,
    overwrite_edits: bool = False,
    repeats: Repeats | None = None,
) -> Imported:
    """Write what was read of ``data`` to a data set of the catalogue, in one transaction, then what is available."""
    imported = store.write(
        name,
        str(data.resolve()),
        InteractionColumns(interactions.users, interactions.items, interactions.timestamps.astype(np.float64)),
        map(item_row, items),
        merge=merged,
        overwrite_edits=overwrite_edits,
        numbered=interactions.numbered,
        repeats=repeats,
        progress=progress,
    )
    hide, show = ([item.item_id for item in items if item.available is wanted] for wanted in (False, True))
    if hide or show:
        store.change_hidden(name, hide, show)
    return imported


def item_row(item: Item) -> ItemRow:
    """Convert an item to what the database holds."""
    path = None if item.image_path is None else str(item.image_path.resolve())
    return ItemRow(item.item_id, item.title, item.genres, item.year, path, item.text, item.described)


def merged(stored: ItemRow, said: ItemRow) -> ItemRow:
    """Merge an item of the file into a stored one: what the file describes is the file's, everything else stays.

    A picture that the file's folder or its column lacks stays, unless the column says that there is none.
    """
    known, new = _parts(stored), _parts(said)
    parts = {name: new[name] if name in said.described else known[name] for name in known}
    if parts == new:
        text = said.text
    elif parts == known:
        text = stored.text
    else:
        text = item_text(parts["title"], parts["year"], parts["genres"], parts["text"])
    image_path = said.image_path if "image_path" in said.described else stored.image_path
    return ItemRow(stored.item_id, parts["title"], parts["genres"], parts["year"], image_path, text)


def _parts(row: ItemRow) -> dict[str, Any]:
    """Return what an item's text is made from."""
    description = description_in(row.text, row.title, row.year, row.genres)
    return {"title": row.title, "year": row.year, "genres": row.genres, "text": description}


def _conclude(there: DatasetRow, imported: Imported, read: Interactions, seconds: float, *, as_json: bool) -> None:
    left_out, repeated = _left_out(imported, read), read.repeated_targets()
    if as_json:
        record = {**dataclasses.asdict(there), **dataclasses.asdict(imported)}
        reading = {"rows_skipped": read.rows_skipped, "not_liked": read.not_liked, "left_out": left_out}
        reading["repeated_targets"] = repeated
        answer_json({**record, **reading, "seconds": round(seconds, 3)})
        return
    answers.print(
        f"{there.name}: {counted(imported.new_interactions, 'new interaction')}, {imported.known_interactions:,} kept; "
        f"{counted(imported.new_items, 'new item')}, {imported.changed_items:,} changed, {imported.kept_items:,} kept; "
        f"in {seconds:.1f} s"
    )
    if left_out:
        notes.print(f"rows left out: {', '.join(f'{count:,} {reason}' for reason, count in left_out.items())}")
    if imported.edits_kept:
        notes.print(
            f"edits by PUT /items stay where this file says otherwise: {counted(imported.edits_kept, 'item')} "
            "(--overwrite-edits replaces them)"
        )
    if repeated:
        offered = "offered again" if there.repeats == "offer" else "never offered again (--repeats offer changes that)"
        notes.print(f"{repeated:.1%} of the users' last items here are ones that they took before: {offered}")
    counts = (there.users, "user"), (there.items, "item"), (there.interactions, "interaction")
    notes.print(f"it holds {', '.join(counted(*count) for count in counts)}")


def _left_out(imported: Imported, read: Interactions) -> dict[str, int]:
    """Count the rows that were left out, by reason."""
    own = {
        "of users who were deleted since": imported.deleted_interactions,
        "the same user, item and time as another row": read.duplicates_dropped,
    }
    return {**read.left_out, **{reason: count for reason, count in own.items() if count}}
