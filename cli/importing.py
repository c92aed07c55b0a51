"""What ``fedmem data import`` does with what was read, and says of it."""

import dataclasses
import sys
import time
from pathlib import Path

from cli.screen import answer_json, answers, counted, notes, stages
from fedmem.config import Repeats
from fedmem.data.interactions import Interactions, Item
from fedmem.importing.writing import import_dataset, left_out
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import DatasetRow, ImportResult


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
    began, source = time.monotonic(), str(data.resolve())
    rows = interactions.without_duplicates()
    try:
        with stages() as progress:
            imported = import_dataset(
                store, name, source, rows, items, progress, overwrite_edits=overwrite_edits, repeats=repeats
            )
    except KeyboardInterrupt:
        notes.print(f"interrupted: nothing was stored in {name}")
        sys.exit(130)
    _conclude(store.dataset(name), imported, rows, time.monotonic() - began, as_json=as_json)


def _conclude(there: DatasetRow, imported: ImportResult, read: Interactions, seconds: float, *, as_json: bool) -> None:
    out, repeated = left_out(read, imported.deleted_interactions), read.repeated_targets()
    if as_json:
        record = {**dataclasses.asdict(there), **dataclasses.asdict(imported)}
        reading = {"rows_skipped": read.rows_skipped, "not_liked": read.not_liked, "left_out": out}
        reading["repeated_targets"] = repeated
        answer_json({**record, **reading, "seconds": round(seconds, 3)})
        return
    answers.print(
        f"{there.name}: {counted(imported.new_interactions, 'new interaction')}, {imported.known_interactions:,} kept; "
        f"{counted(imported.new_items, 'new item')}, {imported.changed_items:,} changed, {imported.kept_items:,} kept; "
        f"in {seconds:.1f} s"
    )
    if out:
        notes.print(f"rows left out: {', '.join(f'{count:,} {reason}' for reason, count in out.items())}")
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
