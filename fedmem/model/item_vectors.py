"""What is known of items, by modality: frozen features, and the vectors that the model makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedmem.modality import Modality


@dataclass(frozen=True)
class MaskedVectors:
    """Vectors of one modality [n, D_m], zero where the mask [n] is False."""

    vectors: Tensor
    mask: Tensor


FrozenFeatures = Mapping[Modality, MaskedVectors]  # by item index 0..I, row 0 is padding; of the modalities in use


def availability(features: FrozenFeatures) -> Tensor | None:
    """Number each item's pattern of modalities [I + 1], from 0 over the patterns that occur; None if there is one."""
    if not features:
        return None
    patterns, number = availability_codes(features)[1:].unique(return_inverse=True)
    if len(patterns) == 1:
        return None
    return torch.cat([number.new_zeros(1), number])


def availability_codes(features: FrozenFeatures) -> Tensor:
    """Write which modalities each item has as a number, with a bit for each that is in use [I + 1]."""
    masks = [one.mask.long() for one in features.values()]
    return sum((mask << bit for bit, mask in enumerate(masks)), torch.zeros_like(masks[0]))


@dataclass(frozen=True)
class ItemTable:
    """Item vectors of some rows of the catalogue, shared [n, ..] or once per client [C, n, ..].

    Attributes:
        rows: the sorted item indices [n] or [C, n], or None for all of 0..I.
        vectors: z_e,i by modality [n, Z]; the sequential one is e_i, and without a retriever there is no other.
        matrix: X [n, D_x], the item side of the score.
        ids: the trained rows δ_i alone [n, D], or None where no loss is computed.
    """

    rows: Tensor | None
    vectors: Mapping[Modality, Tensor]
    matrix: Tensor
    ids: Tensor | None = None

    @property
    def embedding(self) -> Tensor:
        """The items' embeddings e_i [n, D]."""
        return self.vectors[Modality.SEQUENTIAL]

    def position(self, items: Tensor) -> Tensor:
        """Find the items' rows in this table; they must be in ``rows``."""
        if self.rows is None:
            return items
        if self.rows.dim() == 1:
            return torch.searchsorted(self.rows, items)
        return torch.searchsorted(self.rows, items.flatten(1)).view_as(items)
