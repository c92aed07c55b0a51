"""Interactions of every format, in file order."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.data.formats.columns.id_columns import IdColumn
from fedmem.data.formats.columns.positive_rows import Events, Ratings
from fedmem.data.formats.columns.time_columns import TimeColumn, Times
from fedmem.data.formats.columns.wanted_columns import MOVIELENS_ITEM, MOVIELENS_USER, InteractionColumns
from fedmem.data.formats.detection import check_format, detect_format
from fedmem.data.formats.reading import Reading
from fedmem.data.formats.tables.bad_rows import BadRows
from fedmem.data.formats.tables.raw_text import read_text, text_lines_only
from fedmem.data.formats.tables.table import Batch
from fedmem.data.formats.tables.table_files import read_table, unit_of_rows
from fedmem.data.formats.tables.text_table import parse_delimited
from fedmem.data.interactions import Interactions, StrArray
from fedmem.errors import DataError

_log = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]

_RATING_NAMES = ("user_id", "item_id", "rating", "timestamp")
# Formats without a header: their columns, the separator, and what a row looks like.
_PLAIN: dict[str, tuple[tuple[str, ...], str, str]] = {
    "movielens-1m": (_RATING_NAMES, "::", "user::item::rating::timestamp"),
    "movielens-100k": (_RATING_NAMES, "\t", "tab-separated user, item, rating, timestamp"),
    "sasrec": (_RATING_NAMES[:2], " ", "`user item`"),
}
# A control character: no line that holds one is read.
_UNIT_SEPARATOR = "\x1f"


def read_interactions(path: Path, reading: Reading | None = None) -> Interactions:
    """Read one file (or a folder of parquet parts), whatever its format, in file order.

    Rows without a timestamp column get their row number, so that file order is time order. ``DataError`` names the
    first row beyond the ``skip_bad_rows`` bad ones that are put up with.
    """
    reading = reading or Reading()
    check_format(reading.format)
    found = detect_format(path, reading) if reading.format == "auto" else reading.format
    reading = _with_columns_of(found, reading)
    bad_rows = BadRows(path, reading.skip_bad_rows, unit_of_rows(found))
    rows = _Rows(reading, bad_rows)
    for batch in _batches(path, found, reading, rows.columns, bad_rows):
        rows.add(batch)
    interactions = rows.joined(path)
    bad_rows.check()
    _report(interactions, bad_rows.kinds, path)
    return interactions


def _batches(
    path: Path, format: str, reading: Reading, columns: InteractionColumns, bad_rows: BadRows
) -> Iterator[Batch]:
    if format not in _PLAIN:
        return read_table(path, "csv" if format == "movielens-csv" else format, reading.encoding, columns, bad_rows)
    names, delimiter, expected = _PLAIN[format]
    content = text_lines_only(read_text(path, f"a file of {expected} rows", reading.encoding), bad_rows)
    if format == "movielens-1m":
        content = content.replace(delimiter.encode(), _UNIT_SEPARATOR.encode())
        delimiter = _UNIT_SEPARATOR
    elif format == "sasrec" and b"\t" in content.split(b"\n", 1)[0]:
        delimiter = "\t"
    if "rating" in names and columns.rating is None:
        _log.info(
            "%s: every rating counts as liked, a low one too; to count those from 4 on: --positive-rating 4", path
        )
    return iter([parse_delimited(content, names, delimiter, bad_rows, path)])


class _Rows:
    """What the batches of a file come to."""

    def __init__(self, reading: Reading, bad_rows: BadRows) -> None:
        self.columns = InteractionColumns(reading)
        self._bad_rows = bad_rows
        self._ids = [IdColumn(name, bad_rows) for name in (reading.user_column, reading.item_column)]
        self._time_column = reading.timestamp_column
        self._times = TimeColumn(reading.timestamp_column, reading.date_format, bad_rows)
        self._judges = _judges(reading, self.columns.rating, bad_rows)
        self._parts: list[tuple[StrArray, StrArray, Mask, Mask]] = []
        self._numbered = True

    def add(self, batch: Batch) -> None:
        """Read the next rows."""
        (users, has_user), (items, has_item) = (column.read(batch) for column in self._ids)
        usable, counts = has_user & has_item, np.ones(len(batch), dtype=bool)
        for judge in self._judges:
            judged, liked = judge.read(batch)
            usable, counts = usable & judged, counts & liked
        numbered = self._time_column not in batch.columns
        if self._parts and numbered != self._numbered:
            raise DataError(
                f"{batch.path}: of the parts of this table, some have a column {self._time_column!r}, some none"
            )
        self._numbered = numbered
        self._parts.append((users, items, usable, counts))
        if not numbered:
            self._times.add(batch)

    def joined(self, path: Path) -> Interactions:
        """Return the rows that are usable and count."""
        if not self._parts:
            return Interactions(np.zeros(0, object), np.zeros(0, object), np.zeros(0, np.int64))
        users, items, usable, counts = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        everywhere = np.ones(len(users), dtype=bool)
        times = Times(np.arange(len(users)), everywhere) if self._numbered else self._times.finish()
        kept = np.flatnonzero(usable & times.valid & counts)
        if times.order is not None:
            kept = times.order[np.isin(times.order, kept)]
        left_out = self._bad_rows.kinds | {
            reason: count for judge in self._judges for reason, count in judge.report(path).items()
        }
        return Interactions(
            users[kept],
            items[kept],
            times.seconds[kept],
            rows_skipped=len(self._bad_rows),
            numbered=self._numbered,
            not_liked=int((usable & times.valid & ~counts).sum()),
            left_out=left_out,
        )


def _judges(reading: Reading, rating: str | None, bad_rows: BadRows) -> list[Ratings | Events]:
    judges: list[Ratings | Events] = []
    if rating is not None and reading.positive_rating is not None:
        judges.append(Ratings(rating, reading.positive_rating, bad_rows))
    if reading.event_column is not None:
        judges.append(Events(reading.event_column, reading.positive_kinds, bad_rows))
    return judges


def _with_columns_of(format: str, reading: Reading) -> Reading:
    """Set the columns of a format that has no others."""
    if format == "movielens-csv":
        return replace(reading, user_column=MOVIELENS_USER, item_column=MOVIELENS_ITEM, timestamp_column="timestamp")
    if format in _PLAIN:
        user, item, rating, timestamp = _RATING_NAMES
        named = None if reading.positive_rating is None else rating
        return replace(reading, user_column=user, item_column=item, timestamp_column=timestamp, rating_column=named)
    return reading


def _report(interactions: Interactions, bad: Mapping[str, int], path: Path) -> None:
    """Say which bad rows were left out, by kind; ``DataError`` if nothing is left."""
    if interactions.rows_skipped:
        _log.warning("%s: %d bad rows are left out (%s)", path, interactions.rows_skipped, _listed(bad))
    if not len(interactions):
        left_out = _listed(interactions.left_out)
        raise DataError(f"{path}: the file holds no interactions{f' (left out: {left_out})' if left_out else ''}")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
