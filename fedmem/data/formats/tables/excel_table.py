"""Excel workbooks: the first sheet that has the columns that are looked for."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from python_calamine import CalamineError, CalamineWorkbook

from fedmem.data.formats.tables.opening import damaged, read_bytes
from fedmem.data.formats.tables.table import Batch, ColumnSelection
from fedmem.errors import DataError

_log = logging.getLogger(__name__)

# Excel keeps 15 digits of a number: ids with more are already rounded in the file.
_EXACT_BELOW = 10**15

Rows = list[list[Any]]


def read_workbook(path: Path, wanted: ColumnSelection) -> Iterator[Batch]:
    """Read the wanted columns of a sheet, with names in its first row that is not empty, as one batch."""
    content = read_bytes(path, "an Excel workbook")
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = {
            name: workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in workbook.sheet_names
        }
    except CalamineError as error:
        raise damaged(path, "an Excel workbook", error) from error
    filled = {name: rows for name, rows in sheets.items() if any(map(_is_filled, rows))}
    if not filled:
        raise DataError(f"{path}: the workbook is empty; a sheet with column names in its first row was expected")
    yield _batch(*_chosen(filled, path, wanted), path, wanted)


def _chosen(sheets: dict[str, Rows], path: Path, wanted: ColumnSelection) -> tuple[str, Rows]:
    """Choose the sheet with the most of the wanted columns, the first if several tie."""
    name = max(sheets, key=lambda sheet: len(wanted.candidates & set(_names(sheets[sheet]))))
    if len(sheets) > 1:
        _log.info("%s: of %d sheets, %r is read", path, len(sheets), name)
    return name, sheets[name]


def _batch(sheet: str, rows: Rows, path: Path, wanted: ColumnSelection) -> Batch:
    header, names = _header(rows), _names(rows)
    picked = wanted.pick([name for name in names if name], f"{path} (sheet {sheet!r})")
    numbered = [(number, row) for number, row in enumerate(rows[header + 1 :], start=header + 2) if _is_filled(row)]
    places = {name: names.index(name) for name in picked}
    columns = {name: [_value(row[place]) for _, row in numbered] for name, place in places.items()}
    lines = np.array([number for number, _ in numbered], dtype=np.int64)
    return Batch(columns, lines, path, exact_below=_EXACT_BELOW)


def _names(rows: Rows) -> list[str]:
    return [str(value).strip() for value in rows[_header(rows)]]


def _header(rows: Rows) -> int:
    """Give the index of the first row that holds anything."""
    return next(index for index, row in enumerate(rows) if _is_filled(row))


def _is_filled(row: list[Any]) -> bool:
    return any(value != "" for value in row)


def _value(value: Any) -> Any:
    return None if value == "" else value
