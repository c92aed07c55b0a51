"""What a ratings file and an items file hold, before anything is numbered."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

StrArray = npt.NDArray[np.object_]
NumericArray = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Columns of n interactions in file order, times in seconds since 1970 or in steps of the file's own.

    ``numbered``: the file has no column of times, and the times are its row numbers. ``rows_skipped`` rows were
    unreadable, ``not_liked`` were read and do not count; ``left_out`` says how many for which reason.
    """

    users: StrArray
    items: StrArray
    timestamps: NumericArray
    duplicates_dropped: int = 0
    rows_skipped: int = 0
    numbered: bool = False
    not_liked: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

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
        kept = ~repeated
        return replace(
            self,
            users=self.users[kept],
            items=self.items[kept],
            timestamps=self.timestamps[kept],
            duplicates_dropped=self.duplicates_dropped + int(repeated.sum()),
        )

    def repeated_targets(self) -> float:
        """Share of the users whose last item, in time order, is one that they took before."""
        codes = {name: pd.factorize(ids)[0] for name, ids in (("user", self.users), ("item", self.items))}
        frame = pd.DataFrame(codes).iloc[np.argsort(self.timestamps, kind="stable")]
        last = ~frame.duplicated("user", keep="last").to_numpy()
        return float(frame.duplicated().to_numpy()[last].mean()) if len(frame) else 0.0


@dataclass(frozen=True)
class Item:
    """One catalogue entry: ``text`` is what the text encoder reads, empty when nothing is known of the item.

    ``description`` is the part of the text beside title, year and genres. ``described`` names what a file says of the
    item, out of ``title``, ``genres``, ``year``, ``text``, ``image_path`` and ``tags``: an empty cell says that there
    is none, a missing column says nothing. ``available`` says whether it may be recommended; None where the file does
    not say. ``tags`` are free words by which answers are filtered; nothing is trained on them.
    """

    item_id: str
    title: str = ""
    genres: tuple[str, ...] = ()
    year: int | None = None
    image_path: Path | None = None
    text: str = ""
    description: str = field(default="", compare=False)
    described: frozenset[str] = field(default=frozenset(), compare=False)
    available: bool | None = field(default=None, compare=False)
    tags: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The title, or the id of an item whose title is unknown."""
        return self.title or self.item_id

    def with_image(self, path: Path | None) -> "Item":
        """Add a picture, unless the item has one or ``path`` is None."""
        if self.image_path or path is None:
            return self
        return replace(self, image_path=path, described=self.described | {"image_path"})
