"""What is said of an items file as a whole, after its rows were read: once, with an example."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from fedmem.data.interactions import Item
from fedmem.identifiers import MAX_DESCRIPTION_LENGTH, is_missing_marker, shown

_log = logging.getLogger(__name__)

_OTHER_SEPARATORS = (",", ";", "/")


class Remarks:
    """Collects what a caller should know of the items of a file, and tells it."""

    def __init__(self, path: Path, genre_separator: str) -> None:
        self._path = path
        self._separator = genre_separator
        self._shortened: list[str] = []
        self._untitled: list[tuple[str, str]] = []
        self._signs: Counter[str] = Counter()
        self._example: dict[str, str] = {}
        self._genres = 0

    def note(self, row: dict[str, Any], item: Item) -> None:
        """Look at one row and the item that it describes."""
        title = row.get("title")
        if isinstance(title, str) and is_missing_marker(title.strip()):
            self._untitled.append((item.item_id, title.strip()))
        if len(item.description) > MAX_DESCRIPTION_LENGTH:
            self._shortened.append(item.item_id)
        genres = row.get("genres")
        if isinstance(genres, str) and item.genres and not genres.lstrip().startswith("["):
            self._note_genres(genres)

    def _note_genres(self, genres: str) -> None:
        self._genres += 1
        for sign in (self._separator, *_OTHER_SEPARATORS):
            if sign in genres:
                self._signs[sign] += 1
                self._example.setdefault(sign, genres)

    def tell(self) -> None:
        """Log what there is to say."""
        if self._shortened:
            _log.warning(
                "the texts of %d items are cut to their first %s characters (item %s)",
                len(self._shortened),
                f"{MAX_DESCRIPTION_LENGTH:,}",
                self._shortened[0],
            )
        if self._untitled:
            item, title = self._untitled[0]
            _log.warning(
                "%s: %d titles are written as a missing value is (%s of item %s), so these items have none",
                self._path,
                len(self._untitled),
                shown(title),
                item,
            )
        self._tell_separator()

    def _tell_separator(self) -> None:
        """Name the sign that many genres hold, if none holds the one that should stand between them."""
        sign = max(_OTHER_SEPARATORS, key=lambda one: self._signs[one])
        if not self._signs[self._separator] and self._signs[sign] * 4 >= self._genres > 0:
            _log.warning(
                "%s: no genres hold the separator %r, and %d of %d hold %r (%s), which are read as one genre; if it "
                "stands between two: --genre-separator '%s'",
                self._path,
                self._separator,
                self._signs[sign],
                self._genres,
                sign,
                shown(self._example[sign]),
                sign,
            )
