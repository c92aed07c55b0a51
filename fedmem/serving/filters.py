"""Filters: by the fields of a selection that leave items out, which items have what is asked for."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmem.data.interactions import Item
from fedmem.errors import ConfigError

BoolArray = npt.NDArray[np.bool_]
Filter = Callable[[Sequence[Item], Any], BoolArray]  # items [n], the field's value -> which items stay [n]


def of_category(items: Sequence[Item], category: str) -> BoolArray:
    """Keep the items of a genre.

    Raises:
        ConfigError: if no item has this genre.
    """
    inside = np.array([category in item.genres for item in items], np.bool_)
    if not inside.any():
        genres = (item.genres for item in items)
        nearest = _nearest(genres, category, "genres")
        raise ConfigError(f"category = {category!r}: no item that can be recommended has this genre{nearest}")
    return inside


def of_tags(items: Sequence[Item], tags: Sequence[str]) -> BoolArray:
    """Keep the items that have all of some tags.

    Raises:
        ConfigError: if no item has one of them.
    """
    unknown = set(tags).difference(*(item.tags for item in items))
    if unknown:
        tag = min(unknown)
        nearest = _nearest((item.tags for item in items), tag, "tags")
        raise ConfigError(f"tag = {tag!r}: no item that can be recommended has this tag{nearest}")
    return np.array([set(tags) <= set(item.tags) for item in items], np.bool_)


def of_years_from(items: Sequence[Item], year: int) -> BoolArray:
    """Keep the items of a year or later; one whose year is not known goes.

    Raises:
        ConfigError: if no item is.
    """
    return _of_years("year_from", items, year, "or later", lambda found: found >= year)


def of_years_to(items: Sequence[Item], year: int) -> BoolArray:
    """Keep the items of a year or earlier; one whose year is not known goes.

    Raises:
        ConfigError: if no item is.
    """
    return _of_years("year_to", items, year, "or earlier", lambda found: found <= year)


def _of_years(name: str, items: Sequence[Item], year: int, which: str, passes: Callable[[int], bool]) -> BoolArray:
    inside = np.array([item.year is not None and passes(item.year) for item in items], np.bool_)
    if not inside.any():
        years = sorted({item.year for item in items if item.year is not None})
        there = f"they are of {years[0]} to {years[-1]}" if years else "no item's year is known"
        raise ConfigError(f"{name} = {year}: no item is of {year} {which}; {there}")
    return inside


def _nearest(lists: Iterable[Sequence[str]], asked: str, what: str) -> str:
    names = sorted({name for each in lists for name in each})
    close = get_close_matches(asked, names, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f"; there are {', '.join(names[:20])}" if names else f"; none of them has {what}"


# By field of ``Selection``; one that is None or empty filters nothing.
FILTERS: Mapping[str, Filter] = {
    "category": of_category,
    "year_from": of_years_from,
    "year_to": of_years_to,
    "tag": of_tags,
}
