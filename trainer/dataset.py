"""A data set of the database as clients are made of."""

from pathlib import Path

import numpy as np

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Interactions, Item
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow


def load_dataset(
    store: CatalogueStore, name: str, *, min_sequence_length: int, until_id: int | None = None
) -> tuple[FederatedDataset, int]:
    """Snapshot of a data set up to an interaction, and the id of its last one."""
    found = store.snapshot(name, until_id)
    rows = found.interactions
    interactions = Interactions(
        np.array(rows.users, object), np.array(rows.items, object), np.asarray(rows.timestamps)
    )
    items = [_item(row) for row in found.items]
    dataset = FederatedDataset.from_interactions(
        interactions, items, min_sequence_length=min_sequence_length, name=name
    )
    return dataset, found.last_id


def _item(row: ItemRow) -> Item:
    image = None if row.image_path is None else Path(row.image_path)
    return Item(row.item_id, row.title, tuple(row.genres), row.year, image, row.text)
