"""Items files: MovieLens movies.dat and u.item, and csv or parquet with named columns."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedmem.data.formats.columns.id_columns import IdColumn
from fedmem.data.formats.columns.wanted_columns import ITEM_FIELDS, ItemColumns
from fedmem.data.formats.images import check_inside
from fedmem.data.formats.item_remarks import Remarks
from fedmem.data.formats.item_values import available_in, line_in, names_in, text_in, year_in_cell
from fedmem.data.formats.reading import Reading
from fedmem.data.formats.tables.bad_rows import WIDTH, BadRows
from fedmem.data.formats.tables.opening import read_bytes
from fedmem.data.formats.tables.raw_text import decode_titles, text_lines_only
from fedmem.data.formats.tables.table import as_list
from fedmem.data.formats.tables.table_files import read_table, sniff, unit_of_rows
from fedmem.data.formats.tables.text_table import header_of, wrong_width
from fedmem.data.formats.titles import item_text, readable_title, year_in
from fedmem.data.interactions import Item
from fedmem.errors import DataError
from fedmem.identifiers import MAX_DESCRIPTION_LENGTH, MAX_TITLE_LENGTH, read_id

_log = logging.getLogger(__name__)

_EXPECTED = "an items file (movies.dat, u.item, csv, parquet, JSON or xlsx)"
_NO_ID = "no item id"
_ML_1M_FIELDS = ("item_id", "title", "genres")
_ML_100K_FIELDS = ("item_id", "title", "release", "video_release", "url")
_ML_100K_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_NO_GENRE = {"unknown", "(no genres listed)", ""}
_NO_TITLE = "unknown"

Row = dict[str, Any]
# Line (or row) number, id, and the item's description, by field.
DescribedRows = Iterator[tuple[int, str, Row]]


def read_items(path: Path, reading: Reading | None = None) -> tuple[list[Item], int]:
    """Read one file's items in file order, and count the bad rows left out (at most ``skip_bad_rows``).

    The format is found out, whatever that of the interactions. ``DataError`` names file and line.
    """
    reading = reading or Reading()
    found, head = sniff(path, _EXPECTED, reading.encoding)
    format = found or _format_of_text(head, path, reading)
    bad_rows = BadRows(path, reading.skip_bad_rows, unit_of_rows(format))
    items = list(_to_items(_rows(path, format, reading, bad_rows), path, reading, bad_rows))
    bad_rows.check()
    if not items:
        raise DataError(f"{path}: the file holds no items")
    return _without_missing_images(items, path), len(bad_rows)


def _format_of_text(content: bytes, path: Path, reading: Reading) -> str:
    columns = ItemColumns(reading)
    if columns.ids & set(header_of(content, columns.candidates)[0]):
        return "csv"
    first = content.split(b"\n", 1)[0]
    if b"::" in first:
        return "movielens-1m"
    if first.count(b"|") >= len(_ML_100K_FIELDS):
        return "movielens-100k"
    if any(sign in first for sign in (b",", b"\t", b";", b"|")):
        return "csv"
    start = first[:60].decode("latin-1")
    raise DataError(f"{path}:1: no known items format starts with {start!r}; {_EXPECTED} was expected")


def _rows(path: Path, format: str, reading: Reading, bad_rows: BadRows) -> DescribedRows:
    if format == "movielens-1m":
        return _with_ids(_separated_rows(_titles(path), "::", _ML_1M_FIELDS, bad_rows), bad_rows)
    if format == "movielens-100k":
        return _with_ids(_ml_100k_rows(_titles(path), path, bad_rows), bad_rows)
    return _table_rows(path, format, reading, bad_rows)


def _titles(path: Path) -> bytes:
    return decode_titles(read_bytes(path, _EXPECTED))


def _with_ids(rows: Iterator[tuple[int, Row]], bad_rows: BadRows) -> DescribedRows:
    """Yield the rows of a format with its own names, with what they say about an item."""
    for number, row in rows:
        try:
            item_id = read_id(row["item_id"], "item id")
        except DataError as error:
            bad_rows.add(number, str(error), _NO_ID)
            continue
        said = {field: row[field] for field in ITEM_FIELDS if field in row}
        yield number, item_id, said | {"genres": row["genres"].split("|")}


def _table_rows(path: Path, format: str, reading: Reading, bad_rows: BadRows) -> DescribedRows:
    columns = ItemColumns(reading)
    ids: IdColumn | None = None
    for batch in read_table(path, format, reading.encoding, columns, bad_rows):
        ids = ids or IdColumn(columns.id_column, bad_rows)
        found, usable = ids.read(batch)
        unsaid = {field: batch.unsaid.get(name, ()) for field, name in columns.fields.items()}
        cells = {field: as_list(batch.columns[name]) for field, name in columns.fields.items()}
        for index in np.flatnonzero(usable).tolist():
            row = {field: values[index] for field, values in cells.items() if index not in unsaid[field]}
            yield int(batch.lines[index]), found[index], row


def _separated_rows(
    content: bytes, separator: str, fields: tuple[str, ...], bad_rows: BadRows
) -> Iterator[tuple[int, Row]]:
    lines = text_lines_only(content, bad_rows).decode().split("\n")
    for number, line in enumerate(lines, start=1):
        values = line.rstrip("\r").split(separator)
        if len(values) == len(fields):
            yield number, dict(zip(fields, values, strict=True))
        elif line.strip():
            bad_rows.add(number, wrong_width(len(values), len(fields)), WIDTH)


def _ml_100k_rows(content: bytes, path: Path, bad_rows: BadRows) -> Iterator[tuple[int, Row]]:
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


def _to_items(rows: DescribedRows, path: Path, reading: Reading, bad_rows: BadRows) -> Iterator[Item]:
    first_line: dict[str, int] = {}
    remarks = Remarks(path, reading.genre_separator)
    for number, item_id, row in rows:
        if item_id in first_line:
            reason = f"the item {item_id!r} stands already on line {first_line[item_id]}"
            bad_rows.add(number, reason, "described twice")
            continue
        first_line[item_id] = number
        try:
            item = _to_item(item_id, row, path.parent, reading.genre_separator)
        except DataError as error:
            bad_rows.add(number, str(error), "unusable description")
            continue
        remarks.note(row, item)
        yield _shortened(item)
    remarks.tell()


def _shortened(item: Item) -> Item:
    """Cut the description, with which the text ends, to the length that the API allows."""
    surplus = len(item.description) - MAX_DESCRIPTION_LENGTH
    if surplus <= 0:
        return item
    return replace(item, description=item.description[:-surplus], text=item.text[:-surplus])


def _to_item(item_id: str, row: Row, folder: Path, genre_separator: str) -> Item:
    title = readable_title(line_in(row.get("title"), "title")[:MAX_TITLE_LENGTH])
    genres = tuple(name for name in names_in(row.get("genres"), genre_separator, "genre") if name not in _NO_GENRE)
    told = year_in(title)
    year = year_in_cell(row.get("year")) or told
    description = text_in(row.get("text"), "text")
    picture = _picture(line_in(row.get("image_path"), "image path"), folder)
    # MovieLens-100K has one film that is called "unknown": a text encoder would take that for a title.
    known_title = "" if title == _NO_TITLE else title
    return Item(
        item_id=item_id,
        title=title,
        genres=genres,
        year=year,
        image_path=picture,
        text=item_text(known_title, year, genres, description),
        description=description,
        described=frozenset(row) - {"available"} if told is None else frozenset((*row, "year")) - {"available"},
        available=available_in(row.get("available")),
        tags=names_in(row.get("tags"), genre_separator, "tag"),
    )


def _picture(name: str, folder: Path) -> Path | None:
    if not name:
        return None
    check_inside(folder, folder / name)
    return folder / name


def _without_missing_images(items: list[Item], path: Path) -> list[Item]:
    missing = {item.item_id for item in items if item.image_path and not item.image_path.is_file()}
    if missing:
        _log.warning("%s: %d pictures are named that do not exist (item %s)", path, len(missing), sorted(missing)[0])
    return [replace(item, image_path=None) if item.item_id in missing else item for item in items]
