"""What a ratings file and an items file hold, before anything is numbered."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

StrArray = npt.NDArray[np.object_]
NumericArray = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Columns of n interactions in file order; a file without timestamps gets its row numbers as timestamps."""

    users: StrArray
    items: StrArray
    timestamps: NumericArray
    duplicates_dropped: int = 0
    rows_skipped: int = 0

    def __post_init__(self) -> None:
        assert self.users.shape == self.items.shape == self.timestamps.shape, "columns of one length"

    def __len__(self) -> int:
        return len(self.users)

    def without_duplicates(self) -> "Interactions":
        """Keep the first of every exact repetition (same user, item and timestamp) and count the others."""
        columns: dict[str, Any] = {"user": self.users, "item": self.items, "timestamp": self.timestamps}
        repeated = pd.DataFrame(columns).duplicated().to_numpy(dtype=bool)
        if not repeated.any():
            return self
        dropped = self.duplicates_dropped + int(repeated.sum())
        kept = ~repeated
        return Interactions(self.users[kept], self.items[kept], self.timestamps[kept], dropped, self.rows_skipped)


@dataclass(frozen=True)
class Item:
    """One catalogue entry: ``text`` is what the text encoder reads, empty when nothing is known of the item."""

    item_id: str
    title: str = ""
    genres: tuple[str, ...] = ()
    year: int | None = None
    image_path: Path | None = None
    text: str = ""

    @property
    def label(self) -> str:
        """The title, or the id of an item whose title is unknown."""
        return self.title or self.item_id

    def with_image(self, path: Path | None) -> "Item":
        """This item with a picture, unless it has one or there is none."""
        return self if self.image_path or path is None else replace(self, image_path=path)
