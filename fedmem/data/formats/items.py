"""Items files: MovieLens movies.dat and u.item, and csv or parquet with named columns."""

import csv
import io
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fedmem.data.formats.bad_rows import BadRows
from fedmem.data.formats.columns import MOVIELENS_COLUMNS, Columns
from fedmem.data.formats.images import find_images
from fedmem.data.formats.parquet import read_parquet
from fedmem.data.formats.raw_text import decode_titles, read_bytes, text_lines_only
from fedmem.data.formats.text_table import header_of, wrong_width
from fedmem.data.formats.titles import item_text, readable_title, year_in
from fedmem.data.interactions import Item
from fedmem.errors import ConfigError, DataError

_log = logging.getLogger(__name__)

ITEM_FORMATS = ("movielens-1m", "movielens-100k", "csv", "parquet")
_EXPECTED = "an items file (movies.dat, u.item, csv or parquet)"
_ML_1M_FIELDS = ("item_id", "title", "genres")
_ML_100K_FIELDS = ("item_id", "title", "release", "video_release", "url")
_ML_100K_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_NO_GENRE = {"unknown", "(no genres listed)", ""}
_NO_TITLE = "unknown"
_DESCRIBED = frozenset(("title", "genres", "year", "image_path", "text"))

Row = dict[str, str]
NumberedRows = Iterator[tuple[int, Row]]


def read_items(
    path: Path,
    format: str = "auto",
    images: Path | None = None,
    skip_bad_rows: int = 0,
    item_column: str = Columns.item,
) -> tuple[list[Item], int]:
    """Items of one file in file order, and how many bad rows were left out (at most ``skip_bad_rows``).

    ``images`` is a folder of pictures named by item id. ``DataError`` names file and line.
    """
    content = read_bytes(path, _EXPECTED)
    found = _detect(content, path) if format == "auto" else format
    bad_rows = BadRows(path, skip_bad_rows, unit="row " if found == "parquet" else "")
    items = list(_to_items(_rows(content, path, found, item_column, bad_rows), path.parent, bad_rows))
    bad_rows.check()
    if not items:
        raise DataError(f"{path}: the file holds no items")
    pictures = find_images(images) if images else {}
    present = _without_missing_images(items, path)
    return [item.with_image(pictures.get(item.item_id)) for item in present], len(bad_rows)


def _detect(content: bytes, path: Path) -> str:
    if content.startswith(b"PAR1"):
        return "parquet"
    first = content.split(b"\n", 1)[0]
    if b"::" in first:
        return "movielens-1m"
    if first.count(b"|") >= len(_ML_100K_FIELDS):
        return "movielens-100k"
    if any(sign in first for sign in (b",", b"\t", b";")):
        return "csv"
    start = first[:60].decode("latin-1")
    raise DataError(f"{path}:1: no known items format starts with {start!r}; {_EXPECTED} was expected")


def _rows(content: bytes, path: Path, format: str, item_column: str, bad_rows: BadRows) -> NumberedRows:
    if format == "parquet":
        return _parquet_rows(content, path, item_column)
    if format == "movielens-1m":
        return _separated_rows(decode_titles(content), "::", _ML_1M_FIELDS, bad_rows)
    if format == "movielens-100k":
        return _ml_100k_rows(decode_titles(content), path, bad_rows)
    if format in ("csv", "movielens-csv"):
        return _csv_rows(text_lines_only(content, bad_rows), path, item_column, bad_rows)
    raise ConfigError(f"items format {format!r} is unknown; use auto or one of {', '.join(ITEM_FORMATS)}")


def _separated_rows(content: bytes, separator: str, fields: tuple[str, ...], bad_rows: BadRows) -> NumberedRows:
    lines = text_lines_only(content, bad_rows).decode().split("\n")
    for number, line in enumerate(lines, start=1):
        values = line.rstrip("\r").split(separator)
        if len(values) == len(fields):
            yield number, dict(zip(fields, values, strict=True))
        elif line.strip():
            bad_rows.add(number, wrong_width(len(values), len(fields)))


def _ml_100k_rows(content: bytes, path: Path, bad_rows: BadRows) -> NumberedRows:
    genres = _ml_100k_genres(path.with_name("u.genre"))
    for number, row in _separated_rows(content, "|", (*_ML_100K_FIELDS, *genres), bad_rows):
        row["genres"] = "|".join(genre for genre in genres if row[genre] == "1")
        row["year"] = "" if year_in(row["title"]) else row["release"][-4:]
        yield number, row


def _ml_100k_genres(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return _ML_100K_GENRES
    rows = (line.split("|") for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    names = tuple(row[0] for row in rows)
    if len(names) != len(_ML_100K_GENRES):
        raise DataError(
            f"{path}: {len(names)} genres where {len(_ML_100K_GENRES)} are expected; remove or mend the file"
        )
    return names


def _csv_rows(content: bytes, path: Path, item_column: str, bad_rows: BadRows) -> NumberedRows:
    bad_rows.check_header()
    names, delimiter = header_of(content)
    id_name = _id_column(names, item_column, f"{path}:1")
    reader = csv.reader(io.StringIO(content.decode(), newline=""), delimiter=delimiter, strict=True)
    try:
        next(reader)
        for values in reader:
            if len(values) == len(names):
                yield reader.line_num, _renamed(dict(zip(names, values, strict=True)), id_name)
            elif values:
                bad_rows.add(reader.line_num, wrong_width(len(values), len(names)))
    except csv.Error as error:
        raise DataError(
            f"{path}:{reader.line_num}: the row cannot be read as csv ({error}); mend its quotes"
        ) from error


def _parquet_rows(content: bytes, path: Path, item_column: str) -> NumberedRows:
    table = read_parquet(content, path, wanted=list)
    id_name = _id_column(table.column_names, item_column, str(path))
    for number, row in enumerate(table.to_pylist(), start=1):
        values = {name: "" if value is None else str(value) for name, value in row.items()}
        yield number, _renamed(values, id_name)


def _id_column(names: list[str], wanted: str, where: str) -> str:
    known = (wanted, Columns.item, MOVIELENS_COLUMNS.item)
    found = next((name for name in known if name in names), None)
    if found is None or "title" not in names:
        missing = "title" if found else wanted
        raise DataError(f"{where}: there is no column {missing!r} (found: {', '.join(names)}); an items file needs it")
    return found


def _renamed(row: Row, id_name: str) -> Row:
    return {**row, "item_id": row[id_name]}


def _to_items(rows: NumberedRows, folder: Path, bad_rows: BadRows) -> Iterator[Item]:
    first_line: dict[str, int] = {}
    for number, row in rows:
        item_id, year = row["item_id"].strip(), row.get("year", "").strip()
        if not item_id:
            bad_rows.add(number, "there is no item id")
        elif item_id in first_line:
            bad_rows.add(number, f"the item {item_id!r} stands already on line {first_line[item_id]}")
        elif year and _year(year) is None:
            bad_rows.add(number, f"the year {year!r} is not a whole number")
        else:
            first_line[item_id] = number
            yield _to_item(item_id, row, _year(year), folder)


def _to_item(item_id: str, row: Row, year: int | None, folder: Path) -> Item:
    title = readable_title(row["title"])
    genres = tuple(name.strip() for name in row.get("genres", "").split("|") if name.strip() not in _NO_GENRE)
    described = _DESCRIBED & (row.keys() | ({"year"} if year_in(title) else set()))
    year = year or year_in(title)
    description = row.get("text", "").strip()
    image = row.get("image_path", "").strip()
    # MovieLens-100K has one film that is called "unknown": a text encoder would take that for a title.
    known_title = "" if title == _NO_TITLE else title
    return Item(
        item_id=item_id,
        title=title,
        genres=genres,
        year=year,
        image_path=folder / image if image else None,
        text=item_text(known_title, year, genres, description),
        description=description,
        described=described,
    )


def _year(text: str) -> int | None:
    """1995 of "1995" and of "1995.0", which is how a column with gaps is often written; None of anything else."""
    digits = text.removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdecimal() else None


def _without_missing_images(items: list[Item], path: Path) -> list[Item]:
    missing = {item.item_id for item in items if item.image_path and not item.image_path.is_file()}
    if missing:
        _log.warning("%s: %d pictures are named that do not exist (item %s)", path, len(missing), sorted(missing)[0])
    return [replace(item, image_path=None) if item.item_id in missing else item for item in items]
