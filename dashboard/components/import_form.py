"""A file that is imported in the dashboard: uploaded, looked at, and only then stored."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from dashboard.components.connection import client, settings
from dashboard.components.import_preview import outcome, preview, remarks
from dashboard.components.reading_fields import ask_reading, in_words_of_the_page
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from fedmem.contracts import ImportUpload, ReadUpload, Upload
from fedmem.contracts.uploads import UNDER_WAY
from fedmem.identifiers import dataset_name_of

_STATE, _TIMES = "import", "imports-so-far"
LONGEST_NAME = 120  # letters, the end of the name


@dataclass
class _Import:
    """What a session imports: files by their id in the browser, uploads by theirs in the API."""

    files: tuple[str, ...] = ()
    uploads: list[str] = field(default_factory=list)
    order: ReadUpload | None = None
    told: Upload | None = None
    trouble: str = ""

    @property
    def under_way(self) -> bool:
        return self.told is not None and self.told.state in UNDER_WAY

    def let_go(self) -> None:
        """Remove what was uploaded; what cannot be removed goes by itself."""
        for upload_id in self.uploads:
            with contextlib.suppress(BackendError):
                client().delete_upload(upload_id)


def import_form(names: list[str]) -> None:
    """Ask for files and how they are read; show what would be read; import it on demand."""
    now: _Import = st.session_state.setdefault(_STATE, _Import())
    times = st.session_state.setdefault(_TIMES, 0)  # another number, an empty field
    with st.container(border=True):
        st.markdown("#### Import a file")
        left, right = st.columns(2)
        data = left.file_uploader("Interactions", key=f"import-data-{times}", help=_WHAT)
        items = right.file_uploader("Items, if there is a file of them", key=f"import-items-{times}", help=_ITEMS)
        if data is None:
            st.caption("Who took what and when: csv, parquet, JSON, xlsx, MovieLens or SASRec, packed or not.")
            _finished(now)
            return
        files = tuple(one.file_id for one in (data, items) if one is not None)
        if files != now.files and not now.under_way:
            now.let_go()
            now = st.session_state[_STATE] = _Import(files)
        name = st.text_input(
            "Data set", dataset_name_of(data.name), key=f"import-name-{data.file_id}", max_chars=255, help=_NAME
        )
        with st.expander("How it is read", expanded=bool(now.told and now.told.state == "failed")):
            options = ask_reading(items is not None)
        _look(now, data, items, options)
        if now.under_way:  # the fields stay drawn: Streamlit forgets those that are not
            _progress(now)
        else:
            _shown(now, name.strip(), options, known=name.strip() in names)


_WHAT = (
    "A row for each interaction, with a user, an item and, if there is one, a time. Should a file become a red sign "
    "without a word, a proxy before the dashboard refuses its size."
)
_ITEMS = "Ids with titles, genres, years or descriptions. Pictures are not uploaded."
_NAME = "It is made if it is not there; otherwise what is new is added, and what the files describe is updated."


def _look(now: _Import, data: Any, items: Any, options: dict[str, Any]) -> None:
    label, icon = "Look at it first", ":material/visibility:"
    if st.button(label, icon=icon, key="import-preview", type="primary", disabled=now.under_way):
        _try(now, lambda: _preview(now, data, items, options))
        st.rerun()


def _preview(now: _Import, data: Any, items: Any, options: dict[str, Any]) -> None:
    if not now.uploads:
        for one in filter(None, (data, items)):
            sent = client().upload_file(one.name[-LONGEST_NAME:], one.getvalue())
            now.uploads.append(sent.upload_id)
    now.order = ReadUpload(items=now.uploads[1] if items is not None else None, options=options)
    now.told = client().preview_upload(now.uploads[0], now.order)


def _import(now: _Import, name: str) -> None:
    assert now.order is not None, "it was looked at"
    order = ImportUpload(dataset=name, items=now.order.items, options=now.order.options)
    now.told = client().import_upload(now.uploads[0], order)


def _stop(now: _Import) -> None:
    client().delete_upload(now.uploads[0])
    now.let_go()
    now.uploads, now.told = [], None


def _try(now: _Import, act: Any) -> None:
    now.trouble = ""
    try:
        act()
    except BackendError as error:
        now.trouble = str(error)
        now.uploads, now.told = ([], None) if getattr(error, "status", 0) == 404 else (now.uploads, now.told)


def _shown(now: _Import, name: str, options: dict[str, Any], *, known: bool) -> None:
    """Show what is wrong, or what would be read with the way to store it."""
    if now.trouble:
        st.error(in_markdown(in_words_of_the_page(now.trouble)), icon=":material/error:")
    told = now.told
    if told is None:
        return
    if told.state == "failed":
        st.error(in_markdown(in_words_of_the_page(told.error or "")), icon=":material/error:")
        remarks(told)
    elif told.preview is not None:
        preview(told)
        if now.order is not None and now.order.options != options:
            st.info("How it is read was changed since: look at it again.", icon=":material/info:")
            return
        label = f"Add it to {in_markdown(name)}" if known else f"Import it as {in_markdown(name)}"
        st.button(
            label,
            icon=":material/database_upload:",
            key="import-start",
            disabled=not name,
            on_click=_try,
            args=(now, lambda: _import(now, name)),
        )


def _progress(now: _Import) -> None:
    """Follow the reading or the import, which may be stopped; its end draws the page anew."""

    @st.fragment(run_every=settings().poll_seconds)
    def follow() -> None:
        told = now.told
        if told is None:
            st.rerun()
        with contextlib.suppress(BackendError):  # asked again by itself
            told = now.told = client().get_upload(told.upload_id)
        st.progress(told.done / told.total if told.total else 0.0, text=_how_far(told))
        if now.trouble:
            st.error(in_markdown(now.trouble), icon=":material/error:")
        st.button("Stop", icon=":material/stop:", key="import-stop", on_click=_try, args=(now, lambda: _stop(now)))
        if not now.under_way:
            if told.state == "imported":
                st.session_state[_TIMES] += 1
            st.rerun()

    follow()


def _how_far(told: Upload) -> str:
    file = in_markdown(told.filename)
    if told.state == "reading":
        return f"Reading {file}: nothing is stored."
    counted = f", {told.done:,} of {told.total:,}" if told.total else ""
    return f"Importing {file}: {told.stage}{counted}. All of it or nothing is stored."


def _finished(now: _Import) -> None:
    if now.told is not None and now.told.imported is not None:
        outcome(now.told, now.told.imported)
