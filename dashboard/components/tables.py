"""Tables of words, whose lines break so that no cell is cut; in a narrow window each row is a list of its own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.plain_text import in_html

LONG = 28  # letters, from which on a cell has several lines where the window is narrow
NOTHING = "–"


@dataclass(frozen=True)
class Bar:
    """A cell that is a share, between 0 and 1, as a bar and in words."""

    share: float
    words: str


Cell = str | Bar


def words_table(rows: Sequence[Mapping[str, Cell]], *, aside: Collection[str] = ()) -> None:
    """Show rows in the order given; a cell may hold any text, and one that a row lacks is a dash.

    Args:
        rows: cells by column.
        aside: columns that are left out where the window is narrow, because the others say enough there.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{in_html(name)}</th>" for name in names)
    body = "".join(f"<tr>{_cells(row, names, aside)}</tr>" for row in rows)
    table = f'<table class="fm-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    st.html(f'<div class="fm-tables">{table}</div>')


def _cells(row: Mapping[str, Cell], names: Sequence[str], aside: Collection[str]) -> str:
    return "".join(_cell(name, row.get(name, NOTHING), aside=name in aside) for name in names)


def _cell(name: str, cell: Cell, *, aside: bool) -> str:
    words, bar = (cell.words, _bar(cell)) if isinstance(cell, Bar) else (cell, "")
    classes = ["fm-long"] * (len(words) >= LONG) + ["fm-aside"] * aside
    marked = f' class="{" ".join(classes)}"' if classes else ""
    return f'<td data-label="{in_html(name)}"{marked}>{bar}{in_html(words)}</td>'


def _bar(cell: Bar) -> str:
    percent = 100 * min(1.0, max(0.0, cell.share))
    return f'<span class="fm-bar"><i style="width: {percent:.0f}%"></i></span>'
