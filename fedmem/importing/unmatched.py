"""Items that one file of an import names and the other does not, which is often an id that is written in two ways."""

from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from fedmem.contracts.uploads import SomeItems
from fedmem.data.interactions import Interactions, Item

MOST_NAMED = 5


def without_title(log: Interactions, untitled: Collection[str]) -> SomeItems:
    """Count the items of a log that are among those without a title, in the order in which the log names them."""
    return _some(item_id for item_id in pd.unique(log.items) if item_id in untitled)


def without_interactions(log: Interactions, items: Sequence[Item]) -> SomeItems:
    """Count the items of an items file that are in no row of a log, in the order of the file."""
    taken = set(pd.unique(log.items))
    return _some(item.item_id for item in items if item.item_id not in taken)


def untitled_in(items: Sequence[Item]) -> set[str]:
    """Return the ids of items that files give no title."""
    return {item.item_id for item in items if not item.title}


def _some(item_ids: Iterable[str]) -> SomeItems:
    found = tuple(item_ids)
    return SomeItems(count=len(found), first=found[:MOST_NAMED])
