"""What would be read of an uploaded file, and what an import has done."""

from collections.abc import Mapping
from datetime import UTC, datetime

import streamlit as st

from dashboard.components.reading_fields import in_words_of_the_page
from dashboard.components.states import start_a_job
from dashboard.components.tables import words_table
from dashboard.plain_text import in_markdown
from fedmem.contracts import ImportOutcome, Preview, SomeItems, Upload
from fedmem.times import FIRST_DATE

FIGURE = 130  # pixels


def preview(told: Upload) -> None:
    """Show counts, what is left out, what was said, and the first rows as they would be stored."""
    found = told.preview
    assert found is not None, "it was read"
    st.markdown(f"**What would be read of {in_markdown(told.filename)}** ({in_markdown(found.format)})")
    with st.container(horizontal=True):
        for label, count in (("Users", found.users), ("Items", found.items), ("Interactions", found.interactions)):
            st.metric(label, f"{count:,}", width=FIGURE)
        st.metric("Left out", f"{sum(found.left_out.values()):,}", width=FIGURE, help="Rows.")
    _left_out(found.left_out)
    remarks(told)
    _unmatched(found.without_title if found.described else SomeItems(), found.without_interactions)
    _rows(found)
    if found.first_items:
        _items(found)


def _left_out(rows: Mapping[str, int]) -> None:
    if rows:
        words_table([{"Rows left out, because": why, "Rows": f"{count:,}"} for why, count in rows.items()])


def remarks(told: Upload) -> None:
    """Say which columns were recognised, and what else a reader might not expect; first what should be looked at."""
    for one in sorted(told.remarks, key=lambda remark: not remark.warning):
        text = in_markdown(in_words_of_the_page(one.text))
        st.markdown(f":orange[:material/warning:] {text}" if one.warning else f":gray[:material/info:] {text}")


def _unmatched(untitled: SomeItems, untaken: SomeItems) -> None:
    """Say which items one file names and the other does not: often an id is written in two ways."""
    if untitled.count:
        st.markdown(
            f":orange[:material/warning:] Without a title: {_some(untitled)} of the interactions. If an items file "
            "should have titles for them, look at how both files write their ids."
        )
    if untaken.count:
        st.markdown(f":gray[:material/info:] In none of these interactions: {_some(untaken)} of the items file.")


def _some(found: SomeItems) -> str:
    named = ", ".join(map(in_markdown, found.first)) + (" .." if found.count > len(found.first) else "")
    return f"{found.count:,} item{'s' * (found.count != 1)} ({named})"


def _rows(found: Preview) -> None:
    rows = [
        {
            "User": row.user_id,
            "Item": row.item_id,
            "Title": row.title,
            "Time": f"step {row.timestamp:,.0f}" if found.numbered else _time(row.timestamp),
        }
        for row in found.first
    ]
    st.caption("The first interactions, as they would be stored:")
    words_table(rows)


def _time(seconds: float) -> str:
    if abs(seconds) < FIRST_DATE:
        return f"step {seconds:,g}"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _items(found: Preview) -> None:
    rows = [
        {
            "Item": item.item_id,
            "Title": item.title,
            "Genres": ", ".join(item.genres),
            "Year": "" if item.year is None else str(item.year),
            "Text": item.text,
        }
        for item in found.first_items
    ]
    st.caption(f"The first of {found.described:,} described items:")
    words_table(rows)


def outcome(told: Upload, done: ImportOutcome) -> None:
    """Say what an import has done, and what comes next."""
    st.success(
        f"{in_markdown(told.filename)} is imported into {in_markdown(done.dataset)}: {done.new_interactions:,} new "
        f"interactions, {done.known_interactions:,} were there; {done.new_items:,} new items, {done.changed_items:,} "
        f"changed, {done.kept_items:,} as they were.",
        icon=":material/check_circle:",
    )
    if done.edits_kept:
        st.caption(f"{done.edits_kept:,} items that were edited by hand stay so, where the file says otherwise.")
    _unmatched(done.without_title, done.without_interactions)
    _left_out(done.left_out)
    start_a_job()
