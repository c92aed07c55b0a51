"""Items as the database describes them now: which changes a served model lacks, and the model that has them."""

import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

from backend.served_model import ServedModel
from fedmem.errors import FeatureError
from fedmem.serving import Item, ServedCatalogue
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow

LOG = logging.getLogger(__name__)


class SnapshotItems:
    """Compares the items of snapshots with the database, each change of which is read once for all models of one."""

    def __init__(self, catalogue: CatalogueStore) -> None:
        self._catalogue = catalogue
        # By snapshot, the data set it was compared with, at which version of its items, and those that differed.
        self._compared: WeakKeyDictionary[object, tuple[str, int, list[ItemRow]]] = WeakKeyDictionary()

    def changed_since(self, model: ServedModel) -> tuple[int, list[ItemRow]]:
        """Find the version that the items are at, and those that the model's snapshot does not know or knows otherwise.

        Only those are read that have changed since another model of the snapshot was compared with them.
        """
        snapshot = model.recommender.dataset
        dataset, version, changed = self._compared.get(snapshot, (model.dataset, -1, []))
        if dataset != model.dataset:
            version, changed = -1, []
        version, rows = self._catalogue.items_since(model.dataset, version)
        newest = {row.item_id: row for row in (*changed, *rows)}
        changed = changed_rows(model.recommender.catalogue, list(newest.values()))
        self._compared[snapshot] = model.dataset, version, changed
        return version, changed


def with_items(model: ServedModel, rows: list[ItemRow]) -> ServedModel:
    """Make the model with the items that it does not know as they are described now.

    An item without a text cannot be placed: it waits for a model that was trained with it.
    """
    known = model.recommender.catalogue
    changed = [row for row in changed_rows(known, rows) if row.item_id in known or row.text.strip()]
    if not changed:
        return model
    try:
        return replace(model, recommender=model.recommender.with_items([_item(row) for row in changed]))
    except FeatureError as error:
        LOG.warning("model %s cannot take up new items: %s", model.version, error)
    trained = [_item(row) for row in changed if row.item_id in known]
    return replace(model, recommender=model.recommender.with_items(trained)) if trained else model


def encode(model: ServedModel, rows: list[ItemRow]) -> None:
    """Let the items' texts be encoded while others are answered."""
    with suppress(FeatureError):  # told once they are to be taken up
        model.recommender.encode([_item(row) for row in rows])


def wait_for_encoder(model: ServedModel, rows: list[ItemRow]) -> bool:
    """Say whether the items' texts can be encoded only once the encoder is loaded, which takes seconds."""
    return model.recommender.waits_for_encoder([_item(row) for row in rows])


def changed_rows(known: ServedCatalogue, rows: list[ItemRow]) -> list[ItemRow]:
    """Find the rows that are new, or described otherwise."""
    return [row for row in rows if row.item_id not in known or _differs(known.item(known.index(row.item_id)), row)]


def _differs(item: Item, row: ItemRow) -> bool:
    return any(getattr(item, name) != getattr(row, name) for name in ("title", "genres", "year", "text", "tags"))


def _item(row: ItemRow) -> Item:
    path = None if row.image_path is None else Path(row.image_path)
    return Item(row.item_id, row.title, row.genres, row.year, path, row.text, tags=row.tags)
