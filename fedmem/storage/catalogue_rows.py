"""What the catalogue's tables hold, as plain values: storage knows neither the readers' types nor the API's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedmem.config import Repeats
from fedmem.contracts.feedback import FeedbackKind

DESCRIPTION = frozenset(("title", "genres", "year", "image_path", "text", "tags"))


@dataclass(frozen=True)
class ItemRow:
    """One item. ``image_path`` is absolute; ``text`` is what the text encoder reads, empty if nothing is known.

    ``described`` names what an import says of the item; of one where it is empty, only the id is known. The times are
    of the row in the database: not looked at when it is written.
    """

    item_id: str
    title: str = ""
    genres: tuple[str, ...] = ()
    year: int | None = None
    image_path: str | None = None
    text: str = ""
    described: frozenset[str] = field(default=DESCRIPTION, compare=False)
    changed_at: float = field(default=0.0, compare=False)
    edited_at: float | None = field(default=None, compare=False)  # when it was last put by hand, None if never
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemPage:
    """Some of the items that were asked for, and how many there are in all."""

    items: tuple[ItemRow, ...]
    total: int


@dataclass(frozen=True)
class Event:
    """One reported event; ``timestamp`` is in seconds since 1970.

    ``trains`` says whether it becomes an interaction; what it is worth, and the answer that led to it, are for the
    online evaluation.
    """

    user_id: str
    item_id: str
    timestamp: float
    kind: FeedbackKind = "interaction"
    trains: bool = True
    weight: float = 1.0
    recommendation_id: str | None = None


@dataclass(frozen=True)
class InteractionRow:
    """One interaction as it is stored. Ids grow in the order in which rows can first be seen."""

    id: int
    user_id: str
    item_id: str
    timestamp: float


@dataclass(frozen=True)
class UserRow:
    """A user and the length of the history."""

    user_id: str
    interactions: int


@dataclass(frozen=True)
class AppendResult:
    """How many events were new, were there already (or twice among themselves), and are older than a deletion.

    ``counted`` is how many were of kinds that become no interaction.
    """

    accepted: int
    duplicates: int
    left_out: int = 0
    counted: int = 0


@dataclass(frozen=True)
class DeletionResult:
    """How many interactions were deleted, and the newest id then: what a user does afterwards has a larger one."""

    interactions: int
    last_id: int


@dataclass(frozen=True)
class DatasetRow:
    """A data set and how much is in it; ``source`` is the file or folder of the last import.

    ``repeats``: whether items that a user has taken are offered again; None where no import has said it.
    """

    name: str
    source: str
    imported_at: float
    users: int
    items: int
    interactions: int
    repeats: Repeats | None = None


@dataclass(frozen=True)
class ItemCounts:
    """What became of the items of an import."""

    new: int = 0
    changed: int = 0
    kept: int = 0
    edits_kept: int = 0

    def __add__(self, other: "ItemCounts") -> "ItemCounts":
        return ItemCounts(
            self.new + other.new,
            self.changed + other.changed,
            self.kept + other.kept,
            self.edits_kept + other.edits_kept,
        )


@dataclass(frozen=True)
class ImportResult:
    """What became of the rows and the items of an import; what it does not name stays as it is.

    Attributes:
        new_interactions: stored now.
        known_interactions: there already.
        deleted_interactions: left out, because the user was deleted since they happened.
        new_items: stored now.
        changed_items: described otherwise than before.
        kept_items: as they were.
        edits_kept: how many of these the import describes otherwise, but were edited by hand.
    """

    new_interactions: int
    known_interactions: int
    deleted_interactions: int
    new_items: int
    changed_items: int
    kept_items: int
    edits_kept: int


@dataclass(frozen=True, eq=False)
class InteractionColumns:
    """Columns of n interactions, in the order in which they were first stored."""

    users: npt.NDArray[np.object_] | Sequence[str]
    items: npt.NDArray[np.object_] | Sequence[str]
    timestamps: npt.NDArray[np.float64] | Sequence[float]

    def __post_init__(self) -> None:
        assert len(self.users) == len(self.items) == len(self.timestamps), "columns of one length"

    def __len__(self) -> int:
        return len(self.users)

    def where(self, wanted: npt.NDArray[np.bool_]) -> "InteractionColumns":
        """Return the rows of a mask [n], in their order."""
        users, items = (np.asarray(column, dtype=object) for column in (self.users, self.items))
        return InteractionColumns(users[wanted], items[wanted], np.asarray(self.timestamps)[wanted])

    def batches(self, size: int) -> "Iterator[InteractionColumns]":
        """Split the rows into pieces of at most ``size``."""
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            yield InteractionColumns(self.users[part], self.items[part], self.timestamps[part])


@dataclass(frozen=True, eq=False)
class CatalogueSnapshot:
    """A data set at one moment: its rows, its items, and the id of its newest row (0 where there is none)."""

    interactions: InteractionColumns
    items: tuple[ItemRow, ...]
    last_id: int
