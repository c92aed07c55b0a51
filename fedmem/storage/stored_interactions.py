"""Rows of interactions as they are read: those that another program has damaged are left out, and said."""

import functools
import logging
import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from fedmem.storage.schema import datasets

logger = logging.getLogger(__name__)

Rows = Sequence[Row[*tuple[Any, ...]]]  # of an id, a user, an item and a time


class WholeRows:
    """Leaves out what is damaged of the rows of one reading, and says so at its end.

    Args:
        connection: what is read by.
        dataset_id: whose rows.
    """

    def __init__(self, connection: Connection, dataset_id: int) -> None:
        self._connection, self._dataset_id = connection, dataset_id
        self._damaged: list[int] = []

    def of(self, rows: Rows) -> Rows:
        """Return those rows whose user and item are texts and whose time is a finite number: all, as a rule."""
        if _all_whole(rows):
            return rows
        whole = [row for row in rows if _is_whole(row)]
        self._damaged += sorted({row.id for row in rows} - {row.id for row in whole})
        return whole

    def say(self) -> None:
        """Warn of what was left out, if anything was."""
        if self._damaged:
            logger.warning("%s", self._sentence())

    def say_once(self) -> None:
        """Warn as ``say`` does, but not again of the same: for what is read again and again."""
        if self._damaged:
            _warn_once(self._sentence())

    def _sentence(self) -> str:
        name = self._connection.scalar(select(datasets.c.name).where(datasets.c.id == self._dataset_id))
        first, count = self._damaged[0], len(self._damaged)
        which = (
            f"1 interaction of the data set {name!r} is" if count == 1 else f"{count:,} interactions of {name!r} are"
        )
        return (
            f"{which} damaged in the database and left out, from row {first} of the table interactions on: restore a "
            "backup, or delete such rows"
        )


def _all_whole(rows: Rows) -> bool:
    """Say whether all rows are whole, in a tenth of the time that it takes to read them."""
    if not rows:
        return True
    _, users, items, times = zip(*rows, strict=True)
    texts = {*map(type, users), *map(type, items)} == {str}
    return texts and set(map(type, times)) <= {int, float} and all(map(math.isfinite, times))


def _is_whole(row: Row[*tuple[Any, ...]]) -> bool:
    _, user, item, time = row
    return isinstance(user, str) and isinstance(item, str) and isinstance(time, int | float) and math.isfinite(time)


@functools.lru_cache(maxsize=1000)
def _warn_once(sentence: str) -> None:
    logger.warning("%s", sentence)
