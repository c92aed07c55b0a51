"""Which format a file has (by its first bytes and lines), and which files of a folder belong together."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fedmem.data.formats.columns.wanted_columns import MOVIELENS_ITEM, MOVIELENS_USER
from fedmem.data.formats.reading import Reading
from fedmem.data.formats.tables.opening import PACKED_SUFFIXES
from fedmem.data.formats.tables.parquet_table import parts_of
from fedmem.data.formats.tables.raw_text import is_text
from fedmem.data.formats.tables.table_files import TABLE_FORMATS, sniff
from fedmem.data.formats.tables.text_table import header_of
from fedmem.errors import ConfigError, DataError

FORMATS = ("movielens-1m", "movielens-100k", "movielens-csv", "sasrec", *TABLE_FORMATS)
SASREC_ITEM_MAP = "sas_to_original_items.txt"

_ITEM_TABLES = tuple(f"items.{format}" for format in TABLE_FORMATS)
# What a folder of each format holds: names of the ratings file, names of the items file.
_LAYOUTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "movielens-100k": (("u.data",), ("u.item",)),
    "movielens-1m": (("ratings.dat",), ("movies.dat",)),
    "movielens-csv": (("ratings.csv",), ("movies.csv",)),
    **{
        format: (
            (f"interactions.{format}", f"ratings.{format}"),
            (f"items.{format}", *(name for name in _ITEM_TABLES if name != f"items.{format}")),
        )
        for format in TABLE_FORMATS
    },
    "sasrec": ((), ()),
}
_LINES_LOOKED_AT = 20
_NAME_IT = "name the file of interactions itself (several, one after another, with the same --name)"
_SASREC_LINE = re.compile(r"[\w.-]+[ \t][\w.-]+\s*$")


@dataclass(frozen=True)
class Source:
    """The files of one data set: interactions, their format, and the items file if there is one beside them."""

    interactions: Path
    format: str
    items: Path | None = None


def check_format(format: str) -> None:
    """Raise ``ConfigError`` for a name that is neither ``auto`` nor one of ``FORMATS``."""
    if format != "auto" and format not in FORMATS:
        raise ConfigError(f"format {format!r} is unknown; use auto or one of {', '.join(FORMATS)}")


def locate(data: Path, reading: Reading | None = None) -> Source:
    """Find the interactions file and the items file that belongs to it.

    ``data`` is a file, a folder, or a folder of parts. A table under a name of its own may have another shop's items
    beside it, whose ids mean others: only one that is called as in a folder of one data set has those of the folder.
    """
    reading = reading or Reading()
    check_format(reading.format)
    if not data.exists():
        raise DataError(f"{data} does not exist; a file of interactions or a folder with one was expected there")
    if data.is_dir():
        return _locate_in_folder(data, reading)
    found = detect_format(data, reading) if reading.format == "auto" else reading.format
    return Source(data, found, _items_beside(data, found))


def detect_format(path: Path, reading: Reading | None = None) -> str:
    """Detect the format of an interactions file; ``DataError`` if its name and first lines fit none."""
    reading = reading or Reading()
    told, head = sniff(path, "a file of interactions", reading.encoding)
    if told is not None:
        return told
    _check_text(path, head)
    names, _ = header_of(head, {reading.user_column, reading.item_column})
    if {MOVIELENS_USER, MOVIELENS_ITEM} <= set(names):
        return "movielens-csv"
    if len(names) > 1 and not any(name.isdecimal() for name in names):
        return "csv"  # names and no number: a header
    lines = [line for line in head.decode("latin-1").splitlines()[:_LINES_LOOKED_AT] if line.strip()]
    votes = Counter(vote for vote in map(_format_of_line, lines) if vote)
    if not votes:
        first = "".join(lines[:1])[:60]
        raise DataError(f"{path}:1: no known format starts with {first!r}; give --format, one of {', '.join(FORMATS)}")
    return votes.most_common(1)[0][0]


def _check_text(path: Path, head: bytes) -> None:
    """Refuse a file whose first lines are mostly not text, as another kind of file; one bad line is a bad row."""
    lines = head.split(b"\n")[:_LINES_LOOKED_AT]
    if sum(not is_text(line) for line in lines) * 2 > len(lines):
        raise DataError(
            f"{path}:1: the file is no UTF-8 text (binary data or another encoding); a file of interactions was "
            "expected. If it is text, give its --encoding"
        )


def _format_of_line(line: str) -> str | None:
    if "::" in line:
        return "movielens-1m"
    fields = line.split("\t")
    if len(fields) >= 3 and fields[0].strip().isdecimal():
        return "movielens-100k"
    if _SASREC_LINE.match(line):
        return "sasrec"
    return "csv" if any(sign in line for sign in ",\t;|") else None


def _locate_in_folder(folder: Path, reading: Reading) -> Source:
    candidates = FORMATS if reading.format == "auto" else (reading.format,)
    layouts = {name: _LAYOUTS[name] for name in _LAYOUTS if name in candidates}
    for name, (ratings_names, item_names) in layouts.items():
        found = _first_present(folder, ratings_names)
        if found is not None:
            actual = detect_format(found, reading) if name == "movielens-csv" and reading.format == "auto" else name
            return Source(found, actual, _first_present(folder, (*item_names, *_LAYOUTS[actual][1])))
    if "parquet" in layouts and parts_of(folder):
        return Source(folder, "parquet", _items_beside(folder, "parquet"))
    if "sasrec" in layouts:
        return Source(_only_sasrec_file(folder), "sasrec")
    raise DataError(f"{folder} holds none of {', '.join(_expected_names(candidates))}; {_NAME_IT}")


def _items_beside(data: Path, format: str) -> Path | None:
    usual, items = _LAYOUTS[format]
    named = format not in TABLE_FORMATS or any(
        data.name == name + suffix for name in usual for suffix in PACKED_SUFFIXES
    )
    return _first_present(data.parent, items) if named else None


def _only_sasrec_file(folder: Path) -> Path:
    texts = sorted(path for path in folder.iterdir() if path.name.removesuffix(".gz").endswith(".txt"))
    fitting = [path for path in texts if not path.name.startswith("sas_to_original") and _reads_as_sasrec(path)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(path.name for path in fitting)
        raise DataError(f"{folder} holds several files that may be the sequences ({names}); name one of them")
    expected = ", ".join(_expected_names(FORMATS))
    raise DataError(f"{folder} holds none of {expected} and no text file of `user item` lines; {_NAME_IT}")


def _reads_as_sasrec(path: Path) -> bool:
    try:
        return detect_format(path) == "sasrec"
    except DataError:
        return False


def _expected_names(formats: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(name for format in formats for name in _LAYOUTS[format][0]))


def _first_present(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Find the first file of these names, packed or not; a folder counts if it holds the parts of a parquet file."""
    paths = (folder / (name + suffix) for name in names for suffix in PACKED_SUFFIXES)
    return next((path for path in paths if path.is_file() or (path.suffix == ".parquet" and parts_of(path))), None)
