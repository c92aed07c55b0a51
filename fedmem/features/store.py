"""Frozen features of all items and users as arrays, centred and scaled; what is missing is masked, never invented."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.features.cache import FloatArray

BoolArray = npt.NDArray[np.bool_]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Modality:
    """One kind of feature: ``rows`` [n, D], ``mask`` [n], and the (mean [D], scale) that were applied to raw vectors.

    x = (raw - mean) * scale, where mean is that of the catalogue's present rows and scale makes the mean of |x|² equal
    to D, so that a component is of order 1. A row that is not present is zero and its mask is False.
    """

    rows: FloatArray
    mask: BoolArray
    mean: FloatArray
    scale: float

    @classmethod
    def fitted(cls, raw: Sequence[FloatArray | None]) -> "Modality":
        """Centre and scale the catalogue's raw vectors (one or more not ``None``); row 0 is added as padding."""
        present = np.stack([vector for vector in raw if vector is not None]).astype(np.float64)
        mean = present.mean(axis=0)
        spread = float(np.square(present - mean).sum(axis=1).mean())
        # Of one vector, or many equal ones, nothing is left after centring: there is nothing to scale.
        scale = float(np.float32(np.sqrt(present.shape[1] / spread))) if spread > 1e-12 else 1.0
        return cls.transformed([None, *raw], mean.astype(np.float32), scale)

    @classmethod
    def transformed(cls, raw: Sequence[FloatArray | None], mean: FloatArray, scale: float) -> "Modality":
        """Apply a known mean [D] and scale to raw vectors, one row each."""
        rows = np.zeros((len(raw), len(mean)), dtype=np.float32)
        mask = np.array([vector is not None for vector in raw], dtype=np.bool_)
        for index, vector in enumerate(raw):
            if vector is not None:
                rows[index] = transform(vector, mean, scale)
        return cls(rows, mask, mean, scale)


def transform(raw: FloatArray, mean: FloatArray, scale: float) -> FloatArray:
    """(raw - mean) * scale of one vector [D] or of many [n, D]."""
    assert raw.shape[-1] == len(mean), f"vectors of {len(mean)} components"
    return ((raw - mean) * np.float32(scale)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Row i belongs to item index i, row 0 is padding; a modality not used is ``None`` and its mask all False."""

    text: FloatArray | None  # [I+1, D_t]
    text_mask: BoolArray  # [I+1]
    image: FloatArray | None  # [I+1, D_v]
    image_mask: BoolArray  # [I+1]
    text_mean: FloatArray | None = None  # [D_t]
    text_scale: float = 1.0
    image_mean: FloatArray | None = None  # [D_v]
    image_scale: float = 1.0

    @classmethod
    def from_modalities(cls, num_items: int, text: Modality | None, image: Modality | None) -> "ItemFeatures":
        """Put both modalities of I items together."""
        nothing = np.zeros(num_items + 1, dtype=np.bool_)
        return cls(
            text=text.rows if text else None,
            text_mask=text.mask if text else nothing,
            image=image.rows if image else None,
            image_mask=image.mask if image else nothing.copy(),
            text_mean=text.mean if text else None,
            text_scale=text.scale if text else 1.0,
            image_mean=image.mean if image else None,
            image_scale=image.scale if image else 1.0,
        )

    @classmethod
    def empty(cls, num_items: int) -> "ItemFeatures":
        """No modality at all: what features off means."""
        return cls.from_modalities(num_items, None, None)

    def transform_text(self, raw: FloatArray) -> FloatArray:
        """Raw text vectors [D_t] or [n, D_t] of new items or of preference texts, as the catalogue's were."""
        assert self.text_mean is not None, "text features are not used"
        return transform(raw, self.text_mean, self.text_scale)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays by field name, for a checkpoint; a modality not used has only its mask."""
        arrays: dict[str, npt.NDArray[Any]] = {"text_mask": self.text_mask, "image_mask": self.image_mask}
        if self.text is not None and self.text_mean is not None:
            arrays |= {"text": self.text, "text_mean": self.text_mean, "text_scale": _one(self.text_scale)}
        if self.image is not None and self.image_mean is not None:
            arrays |= {"image": self.image, "image_mean": self.image_mean, "image_scale": _one(self.image_scale)}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "ItemFeatures":
        """The inverse of ``to_arrays``."""
        return cls(
            text=arrays.get("text"),
            text_mask=arrays["text_mask"],
            image=arrays.get("image"),
            image_mask=arrays["image_mask"],
            text_mean=arrays.get("text_mean"),
            text_scale=float(arrays["text_scale"][0]) if "text_scale" in arrays else 1.0,
            image_mean=arrays.get("image_mean"),
            image_scale=float(arrays["image_scale"][0]) if "image_scale" in arrays else 1.0,
        )


@dataclass(frozen=True, eq=False)
class UserFeatures:
    """Encoded preference texts; row u belongs to user index u, there is no padding row."""

    preference: FloatArray | None  # [U, D_t]
    mask: BoolArray  # [U]

    @classmethod
    def empty(cls, num_users: int) -> "UserFeatures":
        """No preference texts."""
        return cls(None, np.zeros(num_users, dtype=np.bool_))

    def of(self, user: int) -> FloatArray | None:
        """One user's encoded text [D_t], or None."""
        return self.preference[user] if self.preference is not None and self.mask[user] else None

    def of_all(self, users: npt.NDArray[np.integer]) -> FloatArray | None:
        """Some users' encoded texts [C, D_t], zero where a user has none; None where nobody has."""
        return None if self.preference is None else self.preference[users] * self.mask[users, None]

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays by name, for a checkpoint."""
        arrays: dict[str, npt.NDArray[Any]] = {"preference_mask": self.mask}
        return arrays if self.preference is None else arrays | {"preference": self.preference}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "UserFeatures":
        """The inverse of ``to_arrays``."""
        return cls(arrays.get("preference"), arrays["preference_mask"])


def _one(value: float) -> npt.NDArray[np.float32]:
    return np.array([value], dtype=np.float32)
