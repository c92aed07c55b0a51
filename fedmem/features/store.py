"""Frozen features of all items and users as arrays, centred and scaled; what is missing is masked, never invented."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.features.cache import FloatArray
from fedmem.modality import FROZEN, Modality

BoolArray = npt.NDArray[np.bool_]
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class FrozenVectors:
    """Frozen vectors of one modality: ``rows`` [n, D], ``mask`` [n], and the (mean [D], scale) applied to raw ones.

    x = (raw - mean) * scale, where mean is that of the catalogue's present rows and scale makes the mean of |x|² equal
    to D, so that a component is of order 1. A row that is not present is zero and its mask is False.
    """

    rows: FloatArray
    mask: BoolArray
    mean: FloatArray
    scale: float

    @classmethod
    def fitted(cls, raw: Sequence[FloatArray | None]) -> "FrozenVectors":
        """Centre and scale the catalogue's raw vectors (one or more not ``None``); row 0 is added as padding."""
        present = np.stack([vector for vector in raw if vector is not None]).astype(np.float64)
        mean = present.mean(axis=0)
        spread = float(np.square(present - mean).sum(axis=1).mean())
        # Of one vector, or many equal ones, nothing is left after centring: there is nothing to scale.
        scale = float(np.float32(np.sqrt(present.shape[1] / spread))) if spread > 1e-12 else 1.0
        nothing = np.zeros((0, present.shape[1]), np.float32)
        return cls(nothing, np.zeros(0, np.bool_), mean.astype(np.float32), scale).transformed([None, *raw])

    def transformed(self, raw: Sequence[FloatArray | None]) -> "FrozenVectors":
        """Put other raw vectors, one row each, through the same mean and scale."""
        rows = np.zeros((len(raw), len(self.mean)), dtype=np.float32)
        mask = np.array([vector is not None for vector in raw], dtype=np.bool_)
        for index, vector in enumerate(raw):
            if vector is not None:
                rows[index] = self.transform(vector)
        return FrozenVectors(rows, mask, self.mean, self.scale)

    def transform(self, raw: FloatArray) -> FloatArray:
        """Compute (raw - mean) * scale of one vector [D] or of many [n, D]."""
        assert raw.shape[-1] == len(self.mean), f"vectors of {len(self.mean)} components"
        return ((raw - self.mean) * np.float32(self.scale)).astype(np.float32)

    def to_arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Name the arrays for a checkpoint: NAME, NAME_mask, NAME_mean, NAME_scale."""
        scale = np.array([self.scale], dtype=np.float32)
        return {name: self.rows, f"{name}_mask": self.mask, f"{name}_mean": self.mean, f"{name}_scale": scale}

    @classmethod
    def from_arrays(cls, name: str, arrays: Arrays) -> "FrozenVectors":
        """Read what ``to_arrays`` has named."""
        return cls(arrays[name], arrays[f"{name}_mask"], arrays[f"{name}_mean"], float(arrays[f"{name}_scale"][0]))


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Frozen vectors of I items by modality: row i belongs to item index i, row 0 is padding.

    Attributes:
        num_items: I.
        vectors: of the modalities that are used, in their order.
    """

    num_items: int
    vectors: Mapping[Modality, FrozenVectors] = field(default_factory=dict)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Name the arrays for a checkpoint; a modality that is not used has only its mask."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for modality in FROZEN:
            used = self.vectors.get(modality)
            nothing = {f"{modality.stored}_mask": np.zeros(self.num_items + 1, np.bool_)}
            arrays |= nothing if used is None else used.to_arrays(modality.stored)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "ItemFeatures":
        """Read what ``to_arrays`` has named, also before a modality was added."""
        num_items = len(arrays[f"{FROZEN[0].stored}_mask"]) - 1
        used = {m: FrozenVectors.from_arrays(m.stored, arrays) for m in FROZEN if m.stored in arrays}
        return cls(num_items, used)


@dataclass(frozen=True, eq=False)
class UserFeatures:
    """Encoded preference texts; row u belongs to user index u, there is no padding row."""

    preference: FloatArray | None  # [U, D_t]
    mask: BoolArray  # [U]

    @classmethod
    def empty(cls, num_users: int) -> "UserFeatures":
        """Make features without preference texts."""
        return cls(None, np.zeros(num_users, dtype=np.bool_))

    def without_users(self, users: Collection[int]) -> "UserFeatures":
        """Return the same features with no text of these users."""
        kept = ~np.isin(np.arange(len(self.mask)), list(users))
        return UserFeatures(None if self.preference is None else self.preference * kept[:, None], self.mask & kept)

    def of(self, user: int) -> FloatArray | None:
        """Look up one user's encoded text [D_t], or None."""
        return self.preference[user] if self.preference is not None and self.mask[user] else None

    def of_all(self, users: npt.NDArray[np.integer]) -> FloatArray | None:
        """Look up some users' encoded texts [C, D_t], zero where a user has none; None where no user has one."""
        return None if self.preference is None else self.preference[users] * self.mask[users, None]

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Name the arrays for a checkpoint."""
        arrays: dict[str, npt.NDArray[Any]] = {"preference_mask": self.mask}
        return arrays if self.preference is None else arrays | {"preference": self.preference}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "UserFeatures":
        """Read what ``to_arrays`` has named."""
        return cls(arrays.get("preference"), arrays["preference_mask"])
