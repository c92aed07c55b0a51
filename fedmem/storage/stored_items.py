"""Rows of items as they are read: one that another program has damaged is shown with what it has."""

import functools
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Row

from fedmem.storage.catalogue_rows import DESCRIPTION, ItemRow

logger = logging.getLogger(__name__)
YEARS = range(-(2**31), 2**31)


def read_items(rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterator[ItemRow]:
    """Read rows of an id, the description and two times; of a damaged one what is none is left out."""
    for row in rows:
        item_id, *described, changed_at, edited_at = row
        if not isinstance(item_id, str):
            _say(repr(item_id))
            continue
        title, genres, year, image_path, text, tags = described
        tags = [] if tags is None else tags  # of an item that was stored before there were any
        item = ItemRow(
            item_id,
            _text(title) or "",
            _names(genres),
            year if isinstance(year, int) and year in YEARS else None,
            _text(image_path),
            _text(text) or "",
            DESCRIPTION,
            _time(changed_at) or 0.0,
            _time(edited_at),
            _names(tags),
        )
        names = list(item.genres), list(item.tags)
        if (item.title, item.year, item.image_path, item.text, *names) != (title, year, image_path, text, genres, tags):
            _say(item_id)
        yield item


def _text(value: Any) -> str | None:
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _names(value: Any) -> tuple[str, ...]:
    names = map(_text, value) if isinstance(value, list) else ()
    return tuple(name for name in names if name is not None)


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


@functools.lru_cache(maxsize=1000)
def _say(item_id: str) -> None:
    """Warn of an item once."""
    logger.warning("the row of item %s is damaged in the database: import it again, or put it", item_id)
