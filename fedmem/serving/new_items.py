"""Items that a model was not trained with: their text is encoded as the catalogue's was and projected by the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.checkpoint import Snapshot
from fedmem.data.formats.titles import item_text, year_in
from fedmem.data.interactions import Item
from fedmem.errors import FeatureError
from fedmem.features.precomputed import names_a_file
from fedmem.features.text import TextEncoder
from fedmem.model.recommender import FrozenFeatures, ItemTable, UR4RecV2MoE

FloatArray = npt.NDArray[np.float32]


@cache
def encoder_of(model_name: str) -> TextEncoder:
    """The text encoder of this name, loaded at its first text and kept."""
    return TextEncoder(model_name)


def described_item(
    item_id: str, title: str, genres: Sequence[str] = (), year: int | None = None, description: str = ""
) -> Item:
    """An item as a catalogue file would have described it; the year is the title's where none is given."""
    text = item_text(title, year, tuple(genres), description)
    return Item(item_id, title, tuple(genres), year_in(title) if year is None else year, text=text)


@dataclass(frozen=True, eq=False)
class PlacedTexts:
    """Texts of items by their index, encoded, centred and scaled as the catalogue's: zero where an item has none.

    Attributes:
        vectors: by item index [D_t].
        present: by item index, whether it has a text.
    """

    vectors: Mapping[int, FloatArray]
    present: Mapping[int, bool]

    def up_to(self, last: int) -> "PlacedTexts":
        """Those of item indices up to ``last``."""
        kept = {index: vector for index, vector in self.vectors.items() if index <= last}
        return PlacedTexts(kept, self.present)


def encode(snapshot: Snapshot, texts: Mapping[int, str]) -> PlacedTexts:
    """The texts as the model takes them.

    Raises:
        FeatureError: if the model uses no texts, or its texts were not encoded by a model that could encode these.
    """
    if snapshot.features.text is None:
        raise FeatureError(
            "the model in service uses no item texts, so a new item cannot be placed by its text: "
            "train with features.text=auto or required"
        )
    name = snapshot.config.model.text_model_name
    if names_a_file(name):
        raise FeatureError(f"the item texts' vectors come from the file {name}, so a new text cannot be encoded")
    written = {index: text for index, text in texts.items() if text.strip()}
    raw = encoder_of(name).encode(list(written.values())) if written else ()
    vectors = {index: snapshot.features.transform_text(one) for index, one in zip(written, raw, strict=True)}
    absent = np.zeros(snapshot.features.text.shape[1], np.float32)
    return PlacedTexts(
        {index: vectors.get(index, absent) for index in texts}, {index: index in vectors for index in texts}
    )


def place(model: UR4RecV2MoE, texts: PlacedTexts, count: int) -> UR4RecV2MoE:
    """A model with the same parameters for ``count`` items: of a new one the trained row is zero, its text is not.

    The item rows behind those of the model are new. Only what a score reads may be asked of it, not what training does.
    """
    added = count + 1 - len(model.sasrec.item_embedding)
    text, text_mask = _lengthened(model.text, added), _lengthened(model.text_mask, added)
    assert text is not None
    assert text_mask is not None
    for index, vector in texts.vectors.items():
        text[index] = torch.from_numpy(vector).to(text)
        text_mask[index] = texts.present[index]
    image, image_mask = _lengthened(model.image, added), _lengthened(model.image_mask, added)
    features = FrozenFeatures(text, text_mask, image, image_mask)
    return model.with_features(features, _availability(model, features))


@torch.inference_mode()
def table_of(model: UR4RecV2MoE, count: int) -> ItemTable:
    """The vectors of all items of a model that was given more than it was trained with."""
    trained = model.sasrec.item_embedding
    added = count + 1 - len(trained)
    table = model.item_table(ids=torch.cat([trained, trained.new_zeros(added, trained.shape[1])]))
    return replace(table, rows=None)


def _lengthened(rows: Tensor | None, added: int) -> Tensor | None:
    """A copy with zero rows behind."""
    return None if rows is None else torch.cat([rows, rows.new_zeros(added, *rows.shape[1:])])


def _availability(model: UR4RecV2MoE, features: FrozenFeatures) -> Tensor | None:
    """Each item's pattern of modalities by the model's own numbers; one that no trained item had has none of a bias."""
    if model.availability is None:
        return None
    known = model.features.codes()[1:]
    number = {int(code): int(which) for code, which in zip(known, model.availability[1:], strict=True)}
    return torch.tensor([0, *(number.get(int(code), 0) for code in features.codes()[1:])])
