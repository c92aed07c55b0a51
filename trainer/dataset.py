"""A data set of the catalogue as what training takes."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Interactions, Item
from fedmem.data.trainable import require_trainable
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow

logger = logging.getLogger(__name__)


def load_dataset(
    store: CatalogueStore, name: str, *, min_sequence_length: int, until_id: int | None = None
) -> tuple[FederatedDataset, int]:
    """Load the interactions up to an id, all of them for None, and the last one's id, for loading the same again.

    It equals, digest and all, what is read from the files that were imported.

    Raises:
        UnknownDatasetError: if there is no such data set.
        DataError: if it has no user to train on.
    """
    snapshot = store.snapshot(name, until_id)
    rows = snapshot.interactions
    dataset = FederatedDataset.from_interactions(
        Interactions(np.asarray(rows.users), np.asarray(rows.items), np.asarray(rows.timestamps)),
        _existing_images(_items(snapshot.items)),
        min_sequence_length=min_sequence_length,
        name=name,
    )
    require_trainable(dataset, f"the data set {name!r}")
    return dataset, snapshot.last_id


def _items(rows: Iterable[ItemRow]) -> Iterator[Item]:
    for row in rows:
        path = None if row.image_path is None else Path(row.image_path)
        yield Item(row.item_id, row.title, row.genres, row.year, path, row.text, tags=row.tags)


def _existing_images(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items without the pictures that were removed since the import."""
    missing = 0
    for item in items:
        gone = item.image_path is not None and not item.image_path.is_file()
        missing += gone
        yield replace(item, image_path=None) if gone else item
    if missing:
        logger.warning("%d of the catalogue's pictures are not where they were at its import", missing)
