"""Which columns of a file are read as what, and what is said of the others."""

import logging
import re
from collections import Counter
from collections.abc import Collection, Sequence

from fedmem.data.formats.columns.positive_rows import EVENT_NAMES, RATING_NAMES
from fedmem.data.formats.reading import Reading
from fedmem.errors import DataError
from fedmem.identifiers import shown

_log = logging.getLogger(__name__)

MOVIELENS_USER, MOVIELENS_ITEM = "userId", "movieId"
ITEM_ID_NAMES = ("item_id", MOVIELENS_ITEM)
# What may be said of an item, and the columns that say it where no option names another.
ITEM_FIELDS = ("title", "genres", "year", "text", "image_path", "available", "tags")
NAMED, LONGEST = 20, 60  # columns that a sentence names, and letters of each
_READ = "%s: read: %s"
_RATINGS_PASSED_OVER = (
    "%s: the column %r looks like ratings, and every row counts as liked, a low one too; to count those from 4 on: "
    "--rating-column %s --positive-rating 4"
)
_EVENTS_PASSED_OVER = (
    "%s: the column %r looks like kinds of events, and every row counts as liked, whatever its kind; to count some: "
    "--event-column %s --positive purchase,like"
)
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
_TIME_NAMES = frozenset(("time", "date", "datetime", "ts", "unixreviewtime", "when"))
_TIME_ENDINGS = ("_at", "_time", "_date", "timestamp")


class InteractionColumns:
    """The columns of interactions: user, item, time if there is one, and rating and kind of event if asked for."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._told = False
        rating = reading.rating_column or ("rating" if reading.positive_rating is not None else None)
        self.rating = rating
        named = (reading.user_column, reading.item_column, rating, reading.event_column)
        self._required = [name for name in named if name is not None]
        if not reading.timestamp_is_optional:
            self._required.append(reading.timestamp_column)

    @property
    def candidates(self) -> frozenset[str]:
        """The names of all columns that could be read, present or not."""
        return frozenset((*self._required, self._reading.timestamp_column))

    def pick(self, names: Sequence[str], where: str) -> list[str]:
        """Return those of the wanted names that the file has; ``DataError`` if a required one is missing."""
        _check_names(names, where)
        for name in self._required:
            if name not in names:
                raise DataError(
                    f"{_no_column(name, names, where)}; name the one that holds it by {self._option(name)}"
                    f"{_no_header_advice(names)}"
                )
        picked = [name for name in names if name in self.candidates]
        if not self._told:
            self._told = True
            self._tell(names, picked, where)
        return picked

    def _option(self, name: str) -> str:
        if name == self._reading.event_column:
            return "--event-column"
        if name == self.rating:
            return "--rating-column"
        return "--user-column, --item-column or --timestamp-column"

    def _tell(self, names: Sequence[str], picked: Sequence[str], where: str) -> None:
        others = [name for name in names if name not in picked]
        roles = {
            "users": self._reading.user_column,
            "items": self._reading.item_column,
            "times": self._reading.timestamp_column,
            "ratings": self.rating,
            "kinds of events": self._reading.event_column,
        }
        _log.debug(_READ, where, ", ".join(f"{role} from {name!r}" for role, name in roles.items() if name in picked))
        if self._reading.timestamp_column not in names:
            self._tell_no_times(others, where)
        rating = None if self.rating else _first_called(RATING_NAMES, others)
        event = None if self._reading.event_column else _first_called(EVENT_NAMES, others)
        _tell_passed_over([name for name in others if name not in (rating, event)], where)
        if rating is not None:
            usual = self._reading.item_column == MOVIELENS_ITEM
            _log.log(logging.INFO if usual else logging.WARNING, _RATINGS_PASSED_OVER, where, rating, rating)
        if event is not None:
            _log.warning(_EVENTS_PASSED_OVER, where, event, event)

    def _tell_no_times(self, others: Sequence[str], where: str) -> None:
        times = [name for name in others if _is_time_name(name)]
        advice = f"; if {times[0]!r} holds the times: --timestamp-column {times[0]}" if times else ""
        _log.warning(
            "%s: no column %r, the order of the rows is taken as the order in time%s",
            where,
            self._reading.timestamp_column,
            advice,
        )


def _tell_passed_over(names: Sequence[str], where: str) -> None:
    """Name the columns of a file that nothing is read from."""
    if names:
        _log.info("%s: passed over: %s", where, _some([repr(name) for name in names]))


def _check_names(names: Sequence[str], where: str) -> None:
    """Raise ``DataError`` if two columns have one name."""
    repeated = min((name for name, count in Counter(names).items() if count > 1), default=None)
    if repeated is not None:
        raise DataError(f"{where}: the column {shown(repeated)} stands twice in the header; remove one")


def _no_column(name: str, names: Sequence[str], where: str) -> str:
    return f"{where}: there is no column {name!r} (found: {_some(names)})"


def _some(names: Sequence[str]) -> str:
    """Name columns, of very many the first."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(name if len(name) <= LONGEST else f"{name[:LONGEST]}.." for name in names[:NAMED]) + more


def _first_called(usual: Collection[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name.lower() in usual), None)


def _no_header_advice(names: Sequence[str]) -> str:
    """Say what a number among the names means: a file that begins with its first row."""
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    return f". If {numbers[0]!r} is a value, the header is missing: write one above the rows" if numbers else ""


def _is_time_name(name: str) -> bool:
    return name.lower() in _TIME_NAMES or name.lower().endswith(_TIME_ENDINGS)


class ItemColumns:
    """The columns of items: the id, and which there are of the other fields."""

    def __init__(self, reading: Reading) -> None:
        described = (reading.title_column, reading.genres_column, reading.year_column, reading.text_column)
        named = (*described, None, reading.available_column, reading.tags_column)
        self._named = {field: name for field, name in zip(ITEM_FIELDS, named, strict=True) if name is not None}
        self._columns = {field: self._named.get(field, field) for field in ITEM_FIELDS}
        self._ids = (reading.items_id_column,) if reading.items_id_column else (reading.item_column, *ITEM_ID_NAMES)
        self.id_column = ""
        self.fields: dict[str, str] = {}

    @property
    def ids(self) -> frozenset[str]:
        """The names that the column of ids may have."""
        return frozenset(self._ids)

    @property
    def candidates(self) -> frozenset[str]:
        """The names of all columns that could be read, present or not."""
        return frozenset((*self._ids, *self._columns.values()))

    def pick(self, names: Sequence[str], where: str) -> list[str]:
        """Return those of the wanted names that the file has; set ``id_column``, and ``fields`` to each field's column.

        ``DataError`` where the id, all fields, or one that an option names is missing.
        """
        _check_names(names, where)
        missing = [name for name in self._named.values() if name not in names]
        if missing:
            raise DataError(_no_column(missing[0], names, where))
        found = next((name for name in self._ids if name in names), None)
        if found is None:
            raise DataError(
                f"{_no_column(self._ids[0], names, where)}; an items file needs the items' ids: name their column by "
                "--items-id-column"
            )
        self.id_column = found
        self.fields = {field: name for field, name in self._columns.items() if name in names and name != found}
        if not self.fields:
            raise DataError(
                f"{_no_column('title', names, where)}, nor another that describes an item; name one by --title-column, "
                "--genres-column, --year-column, --text-column, --tags-column or --available-column"
            )
        picked = [found, *self.fields.values()]
        said = (field if field == name else f"{field} from {name!r}" for field, name in self.fields.items())
        _log.debug(_READ, where, ", ".join((f"ids from {found!r}", *said)))
        _tell_passed_over([name for name in names if name not in picked], where)
        return list(dict.fromkeys(picked))
