"""How files are to be read: which columns hold what, in which encoding, and what counts as liked."""

import codecs
import re
from dataclasses import dataclass
from datetime import datetime

from fedmem.errors import ConfigError

DEFAULT_TIMESTAMP = "timestamp"
DEFAULT_GENRE_SEPARATOR = "|"
# Codecs of text that no file is written in; the first two take quadratic time.
_NOT_OF_FILES = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape"})


@dataclass(frozen=True)
class Reading:
    """What a caller says about the files of a data set; every field is a keyword of ``load_dataset`` and an option.

    The columns are those of tables with names: csv, parquet, JSON, Excel. The default column of times may be absent, a
    named one may not. ``positive_rating`` is the smallest rating that counts as liked, ``positive`` the kinds of events
    that do, with commas between them. ``ConfigError`` names a value that does not fit.
    """

    format: str = "auto"
    skip_bad_rows: int = 0
    encoding: str = "auto"
    user_column: str = "user_id"
    item_column: str = "item_id"
    timestamp_column: str = DEFAULT_TIMESTAMP
    date_format: str | None = None
    rating_column: str | None = None
    positive_rating: float | None = None
    event_column: str | None = None
    positive: str | None = None
    items_id_column: str | None = None
    title_column: str | None = None
    genres_column: str | None = None
    genre_separator: str = DEFAULT_GENRE_SEPARATOR
    year_column: str | None = None
    text_column: str | None = None
    tags_column: str | None = None
    available_column: str | None = None

    def __post_init__(self) -> None:
        if self.skip_bad_rows < 0:
            raise ConfigError(f"skip_bad_rows = {self.skip_bad_rows} must be 0 or more")
        self._check_columns()
        if self.encoding != "auto":
            _check_encoding(self.encoding)
        if self.date_format is not None:
            _check_date_format(self.date_format)
        if self.rating_column is not None and self.positive_rating is None:
            raise ConfigError(
                "say from which rating on an item counts as liked: --positive-rating 4 beside --rating-column"
            )
        if self.positive is not None and self.event_column is None:
            raise ConfigError("--positive names kinds of events: name their column too, by --event-column")
        if self.event_column is not None and not self.positive_kinds:
            raise ConfigError("say which kinds of events count: --positive purchase,like beside --event-column")
        if not self.genre_separator:
            raise ConfigError("the genre separator is empty; give what stands between two genres, such as , or |")

    def _check_columns(self) -> None:
        named = (self.user_column, self.item_column, self.timestamp_column, self.rating_column, self.event_column)
        twice = sorted({name for name in named if name is not None and named.count(name) > 1})
        if twice:
            raise ConfigError(f"the column {twice[0]!r} is named for two things; give each its own")

    @property
    def timestamp_is_optional(self) -> bool:
        """Without timestamps the rows of the file are the order."""
        return self.timestamp_column == DEFAULT_TIMESTAMP

    @property
    def positive_kinds(self) -> tuple[str, ...]:
        """The kinds of events that count."""
        return tuple(kind.strip() for kind in (self.positive or "").split(",") if kind.strip())


def _check_date_format(written: str) -> None:
    if "%" not in written:
        raise ConfigError(f"the date format {written!r} names no part of a date; give one such as %d.%m.%Y")
    try:
        datetime.strptime("", written)
    except re.error:
        raise ConfigError(f"the date format {written!r} names a part twice; give one such as %d.%m.%Y") from None
    except ValueError as error:
        if "does not match" not in str(error):
            raise ConfigError(f"the date format cannot be used: {error}; give one such as %d.%m.%Y") from None


def _check_encoding(name: str) -> None:
    try:
        found = codecs.lookup(name).name
        "a".encode(found)  # some codecs do not encode text
    except (LookupError, UnicodeError):
        found = ""
    if not found or found in _NOT_OF_FILES:
        raise ConfigError(
            f"the encoding {name!r} is unknown; give auto, utf-8, cp1252, latin-1, utf-16 or another of Python's"
        ) from None
