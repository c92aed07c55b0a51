"""Whether the times of an import go with those that the data set has."""

from sqlalchemy import Connection

from fedmem.errors import ConflictError
from fedmem.storage import interactions
from fedmem.storage.catalogue_rows import InteractionColumns


def check_times(
    connection: Connection,
    dataset_id: int,
    rows: InteractionColumns,
    kept: InteractionColumns,
    *,
    name: str,
    source: str,
    numbered: bool,
) -> int:
    """Check the rows of a file, and those ``kept`` of them, before they are written.

    Returns:
        How many rows of the data set must be among them, as ``numbered`` rows continue those of the last import.

    Raises:
        ConflictError: as ``CatalogueStore.write``.
    """
    earlier = interactions.count_seen(connection, dataset_id, max(rows.timestamps)) if numbered else 0
    if numbered and not earlier and interactions.any_row(connection, dataset_id):
        raise _without_times(name, source)
    if not numbered and _all_are_steps(kept) and interactions.counts_seconds(connection, dataset_id):
        raise _in_steps(name, source, max(kept.timestamps))
    return earlier


def _all_are_steps(rows: InteractionColumns) -> bool:
    return len(rows) > 0 and all(map(interactions.is_step, rows.timestamps))


def moved(name: str, source: str, moved: int) -> ConflictError:
    """Say that rows without times are not where they were."""
    return ConflictError(
        f"{source} has no times, so that its rows are told apart by their place, and {moved} rows of the data set "
        f"{name!r} are not at theirs: the file was changed before its end. Import it under another name, or remove the "
        f"data set first: fedmem data remove {name}"
    )


def _without_times(name: str, source: str) -> ConflictError:
    return ConflictError(
        f"{source} has no times, and the rows of the data set {name!r} have: it would come before all of them. Name "
        "the column of times by --timestamp-column, or import it under another name"
    )


def _in_steps(name: str, source: str, last: float) -> ConflictError:
    return ConflictError(
        f"the times of {source} count steps (up to {last:g}), and those of the data set {name!r} are dates: it would "
        "come before all of them. Name another column by --timestamp-column, or import it under another name"
    )
