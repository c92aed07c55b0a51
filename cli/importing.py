"""Files into a data set of the database, for ``fedmem data import`` and the demo."""

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cli.screen import answer_json, answers, notes, stages
from fedmem.data.interactions import Interactions, Item, NumericArray
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Imported, InteractionColumns, ItemRow

# A number above the first of these, as seconds, would be no date: it counts smaller units. Good for dates from 1974 on.
_UNITS = ((1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (1e11, 1e3, "milliseconds"))

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
    _conclude(store, name, imported, interactions.rows_skipped, time.monotonic() - began, as_json=as_json)


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
        in_seconds(rows),
        map(item_row, items),
        numbered=are_row_numbers(rows),
        progress=progress,
    )


def item_row(item: Item) -> ItemRow:
    """An item as the database holds it."""
    path = None if item.image_path is None else str(item.image_path.absolute())
    return ItemRow(item.item_id, item.title, item.genres, item.year, path, item.text)


def in_seconds(rows: Interactions) -> InteractionColumns:
    """The rows with their times as 64-bit floats in seconds, so that feedback that comes later is later."""
    scale = _scale(rows.timestamps)
    times = np.asarray(rows.timestamps / scale, dtype=np.float64)
    if len(np.unique(times)) == len(np.unique(rows.timestamps)):
        return InteractionColumns(rows.users, rows.items, times)
    # Nanoseconds do not fit. Rows whose times became one are stored in their order, which decides ties.
    order = np.argsort(rows.timestamps, kind="stable")
    return InteractionColumns(rows.users[order], rows.items[order], times[order])


def _scale(timestamps: NumericArray) -> float:
    largest = float(np.abs(timestamps.astype(np.float64)).max())
    for limit, scale, unit in _UNITS:
        if largest > limit:
            notes.print(f"the times are taken as {unit} since 1970, for as seconds the last would be no date")
            return scale
    return 1.0


def are_row_numbers(rows: Interactions) -> bool:
    """Whether the times only count the rows, as they do where a file has none."""
    times: npt.NDArray[np.float64] = rows.timestamps.astype(np.float64)
    counting = bool(np.all(np.diff(times) >= 1)) and times[0] >= 0
    return counting and bool(times[-1] < len(rows) + rows.rows_skipped)


def _conclude(
    store: CatalogueStore, name: str, imported: Imported, rows_skipped: int, seconds: float, *, as_json: bool
) -> None:
    there = store.dataset(name)
    if as_json:
        record = {**dataclasses.asdict(there), **dataclasses.asdict(imported)}
        answer_json({**record, "rows_skipped": rows_skipped, "seconds": round(seconds, 3)})
        return
    known = f" ({imported.known_interactions:,} were there already)" if imported.known_interactions else ""
    changed = f", {imported.changed_items:,} items changed" if imported.changed_items else ""
    answers.print(
        f"{name}: {imported.new_interactions:,} new interactions{known}, {imported.new_items:,} new items{changed}, "
        f"in {seconds:.1f} s"
    )
    notes.print(f"it holds {there.users:,} users, {there.items:,} items and {there.interactions:,} interactions")
