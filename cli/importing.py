"""What ``fedmem data import`` does with what was read, and says of it."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import NamedTuple

from cli.screen import answer_json, answers, counted, notes, stages
from fedmem.config import Repeats
from fedmem.contracts.uploads import SomeItems
from fedmem.data.interactions import Interactions, Item
from fedmem.identifiers import shown
from fedmem.importing.unmatched import without_interactions, without_title
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
    unmatched = Unmatched(without_title(rows, store.untitled_items(name)), without_interactions(rows, items))
    _conclude(store.dataset(name), imported, rows, unmatched, time.monotonic() - began, as_json=as_json)


class Unmatched(NamedTuple):
    """Items that one of the files names and the other does not."""

    without_title: SomeItems
    without_interactions: SomeItems


def _conclude(
    there: DatasetRow,
    imported: ImportResult,
    read: Interactions,
    unmatched: Unmatched,
    seconds: float,
    *,
    as_json: bool,
) -> None:
    out, repeated = left_out(read, imported.deleted_interactions), read.repeated_targets()
    if as_json:
        record = {**dataclasses.asdict(there), **dataclasses.asdict(imported)}
        reading = {"rows_skipped": read.rows_skipped, "not_liked": read.not_liked, "left_out": out}
        reading["repeated_targets"] = repeated
        unknown = {name: some.model_dump(mode="json") for name, some in unmatched._asdict().items()}
        answer_json({**record, **reading, **unknown, "seconds": round(seconds, 3)})
        return
    answers.print(
        f"{there.name}: {counted(imported.new_interactions, 'new interaction')}, {imported.known_interactions:,} kept; "
        f"{counted(imported.new_items, 'new item')}, {imported.changed_items:,} changed, {imported.kept_items:,} kept; "
        f"in {seconds:.1f} s"
    )
    if out:
        notes.print(f"rows left out: {', '.join(f'{count:,} {reason}' for reason, count in out.items())}")
    _say_unmatched(unmatched)
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


def _say_unmatched(unmatched: Unmatched) -> None:
    """Say which items of one file the other does not know: often an id is written in two ways."""
    if (some := unmatched.without_title).count:
        notes.print(
            f"no title is known of {counted(some.count, 'item')} of the interactions ({_named(some)}): an items file "
            "gives titles (--items); if one should have, look at how both files write their ids"
        )
    if (some := unmatched.without_interactions).count:
        notes.print(f"in none of these interactions: {counted(some.count, 'item')} of the items file ({_named(some)})")


def _named(some: SomeItems) -> str:
    return ", ".join(map(shown, some.first)) + (" .." if some.count > len(some.first) else "")
