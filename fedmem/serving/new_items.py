"""Items that a model was not trained with: encoded as the catalogue's were, texts find the rows of their likes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmem.checkpoint import Snapshot
from fedmem.data.formats.titles import description_in, item_text, year_in
from fedmem.data.interactions import Item
from fedmem.errors import FeatureError
from fedmem.features.precomputed import names_a_file
from fedmem.features.text import TextEncoder
from fedmem.federated.scoring import ModelScorer
from fedmem.memory.kin import Kin
from fedmem.modality import Modality
from fedmem.model.item_vectors import FrozenFeatures, ItemTable, MaskedVectors, availability_codes
from fedmem.model.new_rows import ids_of_texts, likest
from fedmem.model.recommender import UR4RecV2MoE
from fedmem.serving.catalogue import ServedCatalogue

FloatArray = npt.NDArray[np.float32]
KIN = 5  # items whose transitions a new one has: chosen on draws that no reported figure is of, docs/experiments.md


@cache
def encoder_of(model_name: str) -> TextEncoder:
    """Make the text encoder of this name, loaded at its first text and kept."""
    return TextEncoder(model_name)


def described_item(
    item_id: str, title: str, genres: Sequence[str] = (), year: int | None = None, description: str = ""
) -> Item:
    """Describe an item as a catalogue file would have; the year is the title's where none is given."""
    text = item_text(title, year, tuple(genres), description)
    return Item(item_id, title, tuple(genres), year_in(title) if year is None else year, text=text)


def description_of(text: str, title: str, genres: Sequence[str], year: int | None) -> str:
    """Take the description out of an item's text; the inverse of ``described_item``."""
    return description_in(text, title, year, tuple(genres))


def waits_for_encoder(snapshot: Snapshot, texts: Iterable[str]) -> bool:
    """Say whether ``encode`` would first load the encoder, which takes seconds, once in a process's life."""
    name = snapshot.config.model.text_model_name
    if Modality.TEXT not in snapshot.features.vectors or names_a_file(name):
        return False
    return any(text.strip() for text in texts) and not encoder_of(name).is_loaded


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
        """Keep those of item indices up to ``last``."""
        kept = {index: vector for index, vector in self.vectors.items() if index <= last}
        return PlacedTexts(kept, self.present)


def encode(snapshot: Snapshot, texts: Mapping[int, str]) -> PlacedTexts:
    """Encode texts as the model takes them.

    Raises:
        FeatureError: if the model uses no texts, or its texts were not encoded by a model that could encode these.
    """
    catalogue = snapshot.features.vectors.get(Modality.TEXT)
    if catalogue is None:
        raise FeatureError(
            "the model in service uses no item texts, so a new item cannot be placed by its text: "
            "train with features.text=auto or required"
        )
    name = snapshot.config.model.text_model_name
    if names_a_file(name):
        raise FeatureError(f"the item texts' vectors come from the file {name}, so a new text cannot be encoded")
    written = {index: text for index, text in texts.items() if text.strip()}
    raw = encoder_of(name).encode(list(written.values())) if written else ()
    vectors = {index: catalogue.transform(one) for index, one in zip(written, raw, strict=True)}
    absent = np.zeros(len(catalogue.mean), np.float32)
    return PlacedTexts(
        {index: vectors.get(index, absent) for index in texts}, {index: index in vectors for index in texts}
    )


def scorer_with(
    scorer: ModelScorer, trained: UR4RecV2MoE, texts: PlacedTexts, catalogue: ServedCatalogue
) -> ModelScorer:
    """Make the scorer of a catalogue in which these texts are new; its model stays where no trained item has another.

    ``trained`` is the model as it was trained.
    """
    others = texts.up_to(catalogue.trained)
    model = place(scorer.model, trained, others) if others.vectors else scorer.model
    table = with_rows(scorer.table, trained, texts, len(catalogue))
    kin = None if scorer.transitions is None else with_kin(scorer.kin, trained, texts, catalogue)
    return ModelScorer(model, scorer.global_memory, table, scorer.transitions, scorer.strengths, kin)


@torch.inference_mode()
def with_kin(kin: Kin | None, trained: UR4RecV2MoE, texts: PlacedTexts, catalogue: ServedCatalogue) -> Kin | None:
    """Find the kin of the new items among these texts, beside that of others; of an item without a text there is none.

    ``trained`` is the model as it was trained.
    """
    before = np.zeros((0, KIN)) if kin is None else kin.items
    added = np.zeros((len(catalogue) - catalogue.trained - len(before), KIN))
    items = np.concatenate([before, added]).astype(np.int64)
    weights = np.concatenate([added[:0] if kin is None else kin.weights, added]).astype(np.float32)
    new = [index for index in sorted(texts.vectors) if index > catalogue.trained]
    if new:
        vectors = torch.from_numpy(np.stack([texts.vectors[index] for index in new]))
        place = np.array(new) - catalogue.trained - 1
        found, cosines = (part.numpy() for part in likest(trained, vectors, KIN))
        likeness = cosines.clip(min=0)
        total = likeness.sum(axis=1, keepdims=True)
        items[place, : found.shape[1]] = found
        weights[place, : found.shape[1]] = np.divide(likeness, total, out=np.zeros_like(likeness), where=total > 0)
    return Kin(items, weights) if len(items) else None


def place(model: UR4RecV2MoE, trained: UR4RecV2MoE, texts: PlacedTexts) -> UR4RecV2MoE:
    """Give a model other texts of items that it was trained with; ``trained`` is the one of before any of them."""
    index = torch.tensor(sorted(texts.vectors))
    rows = _frozen_rows(trained, texts, index)
    old, new = model.features[Modality.TEXT], rows[Modality.TEXT]
    text = MaskedVectors(_changed(old.vectors, index, new.vectors), _changed(old.mask, index, new.mask))
    patterns = _patterns(trained, rows)
    if model.availability is not None and patterns is not None:
        patterns = _changed(model.availability, index, patterns)
    return model.with_features({**model.features, Modality.TEXT: text}, patterns)


@torch.inference_mode()
def with_rows(table: ItemTable, trained: UR4RecV2MoE, texts: PlacedTexts, count: int) -> ItemTable:
    """Make the vectors of ``count`` items: anew or, after the others, new if there is a text; else as before.

    A new item's embedding is what trained items of such a text have. ``trained`` is the model as it was trained.
    """
    index = torch.tensor(sorted(texts.vectors))
    features = _frozen_rows(trained, texts, index)
    ids = _ids(trained, features[Modality.TEXT], index)
    rows = trained.with_features(features, _patterns(trained, features)).item_table(ids=ids)
    columns = table.matrix.T  # contiguous, and so a scorer wants it
    columns = torch.cat([columns, columns.new_zeros(len(columns), count + 1 - columns.shape[1])], dim=1)
    columns[:, index] = rows.matrix.T
    vectors = {m: _changed(one, index, rows.vectors[m], count + 1) for m, one in table.vectors.items()}
    return ItemTable(None, vectors, columns.T)


def _ids(trained: UR4RecV2MoE, texts: MaskedVectors, index: Tensor) -> Tensor:
    """Make id embeddings [n, D]: the trained ones; for a new text so that the embedding is its likes'; else 0."""
    ids = _rows(trained.sasrec.item_embedding, index)
    new = (index >= len(trained.sasrec.item_embedding)) & texts.mask
    if not new.any():
        return ids
    ids[new] = ids_of_texts(trained, texts.vectors[new])
    return ids


def _frozen_rows(trained: UR4RecV2MoE, texts: PlacedTexts, index: Tensor) -> FrozenFeatures:
    """Make the frozen features of some items: these texts, and the pictures that they were trained with."""
    vectors = torch.stack([torch.from_numpy(texts.vectors[int(one)]) for one in index])
    present = torch.tensor([texts.present[int(one)] for one in index])
    old = trained.features
    return {m: MaskedVectors(_rows(one.vectors, index), _rows(one.mask, index)) for m, one in old.items()} | {
        Modality.TEXT: MaskedVectors(vectors.to(old[Modality.TEXT].vectors), present)
    }


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Take rows of a trained table, zero where an item is newer."""
    rows = table.new_zeros(len(index), *table.shape[1:])
    known = index < len(table)
    rows[known] = table[index[known]]
    return rows


def _changed(table: Tensor, index: Tensor, rows: Tensor, count: int | None = None) -> Tensor:
    """Copy a table with these rows, extended at the end to ``count`` rows."""
    added = 0 if count is None else count - len(table)
    changed = torch.cat([table, table.new_zeros(added, *table.shape[1:])])
    changed[index] = rows
    return changed


def _patterns(trained: UR4RecV2MoE, rows: FrozenFeatures) -> Tensor | None:
    """Find each item's pattern of modalities by the model's numbers; one that no trained item had has no bias."""
    if trained.availability is None:
        return None
    known, first = np.unique(availability_codes(trained.features)[1:].numpy(), return_index=True)
    number = dict(zip(known.tolist(), trained.availability[1:][first].tolist(), strict=True))
    return torch.tensor([number.get(code, 0) for code in availability_codes(rows).tolist()])
