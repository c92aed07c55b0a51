"""What was read of files, written to a data set of the database, and what became of it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedmem.config import Repeats
from fedmem.data.formats.titles import description_in, item_text
from fedmem.data.interactions import Interactions, Item
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ImportResult, InteractionColumns, ItemRow

Progress = Callable[[str, int, int], None]


def import_dataset(
    store: CatalogueStore,
    name: str,
    source: str,
    interactions: Interactions,
    items: list[Item],
    progress: Progress,
    *,
    overwrite_edits: bool = False,
    repeats: Repeats | None = None,
) -> ImportResult:
    """Write what was read of ``source`` to a data set of the catalogue, whole or not at all, then what is available."""
    imported = store.write(
        name,
        source,
        InteractionColumns(interactions.users, interactions.items, interactions.timestamps.astype(np.float64)),
        map(item_row, items),
        merge=merged,
        overwrite_edits=overwrite_edits,
        numbered=interactions.numbered,
        repeats=repeats,
        progress=progress,
    )
    hide, show = ([item.item_id for item in items if item.available is wanted] for wanted in (False, True))
    if hide or show:  # but for items of deleted users alone, which were not stored
        there = store.items_by_id(name, {*hide, *show})
        store.change_hidden(name, *([one for one in some if one in there] for some in (hide, show)))
    return imported


def item_row(item: Item) -> ItemRow:
    """Convert an item to what the database holds."""
    path = None if item.image_path is None else str(item.image_path.resolve())
    return ItemRow(item.item_id, item.title, item.genres, item.year, path, item.text, item.described, tags=item.tags)


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
    tags = said.tags if "tags" in said.described else stored.tags
    return ItemRow(stored.item_id, parts["title"], parts["genres"], parts["year"], image_path, text, tags=tags)


def _parts(row: ItemRow) -> dict[str, Any]:
    """Return what an item's text is made from."""
    description = description_in(row.text, row.title, row.year, row.genres)
    return {"title": row.title, "year": row.year, "genres": row.genres, "text": description}


def left_out(read: Interactions, deleted: int = 0) -> dict[str, int]:
    """Count the rows that are left out, by reason; so many are of users who were deleted."""
    own = {
        "of users who were deleted since": deleted,
        "the same user, item and time as another row": read.duplicates_dropped,
    }
    return {**read.left_out, **{reason: count for reason, count in own.items() if count}}
