"""From files to a ``FederatedDataset``: the one entry point of the readers."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.formats.detection import SASREC_ITEM_MAP, Source, locate
from fedmem.data.formats.images import find_images
from fedmem.data.formats.interactions import read_interactions
from fedmem.data.formats.items import read_items
from fedmem.data.formats.reading import Reading
from fedmem.data.formats.tables.bad_rows import BadRows
from fedmem.data.formats.tables.opening import read_bytes
from fedmem.data.formats.tables.raw_text import text_lines_only
from fedmem.data.formats.tables.table import as_list
from fedmem.data.formats.tables.text_table import parse_delimited
from fedmem.data.interactions import Interactions, Item
from fedmem.data.split import check_min_sequence_length
from fedmem.data.trainable import require_trainable
from fedmem.errors import DataError

_log = logging.getLogger(__name__)


def load_dataset(
    data: Path, *, items: Path | None = None, images: Path | None = None, min_sequence_length: int = 5, **options: Any
) -> FederatedDataset:
    """Read a folder or a file of interactions, with titles and pictures where there are any.

    ``items`` defaults to the items file that the format keeps beside the interactions; ``options`` are the fields of
    ``Reading``. At most ``skip_bad_rows`` bad rows of both files together are left out. The vocabulary is that of the
    interactions: described items without interactions are no part of training, and a model places them by their text.
    ``DataError`` names file and line, ``ConfigError`` a value out of range.
    """
    check_min_sequence_length(min_sequence_length)
    reading = Reading(**options)
    source = locate(data, reading)
    interactions, catalogue = _read(source, data.is_dir(), items, images, reading, training=True)
    dataset = FederatedDataset.from_interactions(
        interactions, catalogue, min_sequence_length=min_sequence_length, name=data.resolve().name
    )
    require_trainable(dataset, str(source.interactions))
    _report(dataset)
    return dataset


def read_dataset(
    data: Path, *, items: Path | None = None, images: Path | None = None, **options: Any
) -> tuple[Interactions, list[Item]]:
    """Read what ``load_dataset`` reads, before anything is numbered: every row, and all items.

    These are one Item for each id in the rows, in the order of their first rows, then those that are described and in
    no row, in the order of the items file.
    """
    reading = Reading(**options)
    return _read(locate(data, reading), data.is_dir(), items, images, reading, training=False)


def _read(
    source: Source, is_folder: bool, items: Path | None, images: Path | None, reading: Reading, *, training: bool
) -> tuple[Interactions, list[Item]]:
    interactions = read_interactions(source.interactions, replace(reading, format=source.format))
    if training:
        _check_trainable(interactions, source.interactions)
    original_ids = _original_ids(source, interactions)
    budget = replace(reading, skip_bad_rows=reading.skip_bad_rows - interactions.rows_skipped)
    told = items is not None or is_folder
    try:
        described, skipped = _read_described(
            items or source.items, source, original_ids, budget, must_fit=training or not told
        )
    except DataError as error:
        if told:
            raise
        _log.warning("titles are not used, as the items file that lies beside the data does not fit: %s", error)
        described, skipped = {}, 0
    catalogue = _catalogue(original_ids, described, find_images(images) if images else {})
    return replace(interactions, rows_skipped=interactions.rows_skipped + skipped), catalogue


def _read_described(
    path: Path | None, source: Source, original_ids: dict[str, str], reading: Reading, *, must_fit: bool
) -> tuple[dict[str, Item], int]:
    """Read items by original id, and count the bad rows left out."""
    if path is None:
        return {}, 0
    items, skipped = read_items(path, reading)
    described = {item.item_id: item for item in items}
    if described.keys().isdisjoint(original_ids.values()):
        reason = f"{path} describes none of the items in {source.interactions}"
        if must_fit:
            raise DataError(f"{reason}; give the items file of this data set")
        _log.warning("%s; if it should, look at which columns hold the items' ids", reason)
    _warn_of_new_numbers(source, original_ids, described, path)
    _log.info("items from %s", path)
    return described, skipped


def _warn_of_new_numbers(source: Source, ids: dict[str, str], described: dict[str, Item], path: Path) -> None:
    """Warn where SASRec's own numbers of items (1 to their count, no gap) are read as the ids of an items file.

    None of items that are the file's own, all described and no other: then both are numbered alike.
    """
    numbers = {str(number) for number in range(1, len(ids) + 1)}
    if source.format == "sasrec" and numbers == set(ids.values()) and numbers != described.keys():
        _log.warning(
            "titles may be of other items: %s numbers its items from 1 to %d, as SASRec's files do whatever the ids in "
            "%s are; put its map, %s, beside it",
            *(source.interactions, len(ids), path, SASREC_ITEM_MAP),
        )


def _catalogue(original_ids: dict[str, str], described: dict[str, Item], pictures: dict[str, Path]) -> list[Item]:
    """List items under the ids of the interactions, joined by original id to what is known of them, then the others."""
    catalogue = []
    for raw, original in original_ids.items():
        item = described.get(original, Item(original)).with_image(pictures.get(original))
        catalogue.append(replace(item, item_id=raw))
    taken = set(original_ids.values())
    others = [item for item in described.values() if item.item_id not in taken]
    if others and taken != original_ids.keys():
        _log.info("%d described items are left out: the file of original ids has none for them", len(others))
        return catalogue
    return catalogue + [item.with_image(pictures.get(item.item_id)) for item in others]


def _original_ids(source: Source, interactions: Interactions) -> dict[str, str]:
    """Map each interacted item to the id of its title and picture: its own, unless a SASRec map gives another."""
    own = {raw: raw for raw in dict.fromkeys(interactions.items.tolist())}
    path = source.interactions.with_name(SASREC_ITEM_MAP)
    if source.format != "sasrec" or not path.is_file():
        return own
    mapped = _read_map(path)
    return {raw: mapped.get(raw, raw) for raw in own}


def _read_map(path: Path) -> dict[str, str]:
    bad_rows = BadRows(path)
    content = text_lines_only(read_bytes(path, "a file of `id original_id` rows"), bad_rows)
    columns = parse_delimited(content, ("id", "original"), " ", bad_rows, path).columns
    bad_rows.check()
    return dict(zip(as_list(columns["id"]), as_list(columns["original"]), strict=True))


def _check_trainable(interactions: Interactions, path: Path) -> None:
    for what, ids, why in (
        ("user", interactions.users, "federated training needs at least two clients"),
        ("item", interactions.items, "there is nothing to rank it against"),
    ):
        if len(set(ids)) == 1:
            raise DataError(
                f"{path}: all {len(ids)} interactions are of one {what} ({ids[0]!r}), and {why}; "
                f"give data with more {what}s, or check which column holds the {what}"
            )


def _report(dataset: FederatedDataset) -> None:
    _log.info(
        "%s: %d users, %d items, %d interactions (dropped %d repetitions of user, item and time; skipped %d bad rows)",
        dataset.name,
        dataset.num_users,
        dataset.num_items,
        len(dataset.sequence),
        dataset.duplicates_dropped,
        dataset.rows_skipped,
    )
