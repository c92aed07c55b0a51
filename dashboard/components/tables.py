"""Tables of words, whose lines break so that no cell is cut; in a narrow window each row is a list of its own."""

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard.plain_text import in_html

LONG = 28  # letters, from which on a cell has several lines where the window is narrow


def words_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Show rows that all have the same columns, in the order given; a cell may hold any text."""
    names = "".join(f"<th>{in_html(name)}</th>" for name in rows[0])
    body = "".join(f"<tr>{''.join(map(_cell, row.items()))}</tr>" for row in rows)
    table = f'<table class="fm-table"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>'
    st.html(f'<div class="fm-tables">{table}</div>')


def _cell(cell: tuple[str, str]) -> str:
    name, text = cell
    long = ' class="fm-long"' if len(text) >= LONG else ""
    return f'<td data-label="{in_html(name)}"{long}>{in_html(text)}</td>'
