"""The form by which an item is described anew."""

import streamlit as st

from dashboard.components.connection import client
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from fedmem.contracts import ItemResponse, ItemUpdate
from fedmem.identifiers import MAX_DESCRIPTION_LENGTH

_ITEM, _TROUBLE, _DONE = "edited-item", "edit-trouble", "edit-done"
HELP = "The item is recommended by this from the next answer on; imports keep it, unless they are told otherwise."


def ask_edit(item_id: str) -> None:
    """Edit this item from now on: for a button's ``on_click``."""
    st.session_state[_ITEM] = item_id
    for key in (_TROUBLE, _DONE):
        st.session_state.pop(key, None)


def said_of_last() -> None:
    """Say what was edited last, once it is."""
    if _DONE in st.session_state:
        st.success(in_markdown(st.session_state[_DONE]), icon=":material/check_circle:")


def edited_item(dataset: str) -> None:
    """Show the form of the item that is edited, if one is; in every run until it is answered."""
    item_id = st.session_state.get(_ITEM)
    if item_id is not None:
        st.dialog("Edit an item", width="large", on_dismiss=_close)(_form)(dataset, client().item(item_id, dataset))


def _form(dataset: str, item: ItemResponse) -> None:
    with st.form("edit-item", border=False):
        st.caption(f"Item {in_markdown(item.item_id)} of {in_markdown(dataset)}. {HELP}")
        st.text_input("Title", item.title, key=_field("title", item), max_chars=1000)
        left, right = st.columns([3, 1])
        left.text_input("Genres, with commas between them", ", ".join(item.genres), key=_field("genres", item))
        right.number_input(
            "Year", value=item.year, min_value=-9999, max_value=9999, key=_field("year", item), placeholder="not known"
        )
        st.text_input("Tags, with commas between them", ", ".join(item.tags), key=_field("tags", item))
        st.text_area("Description", item.description, key=_field("text", item), max_chars=MAX_DESCRIPTION_LENGTH)
        if _TROUBLE in st.session_state:
            st.error(in_markdown(st.session_state[_TROUBLE]), icon=":material/error:")
        with st.container(horizontal=True):
            st.form_submit_button("Save", type="primary", key="save-item", on_click=_save, args=(dataset, item))
            st.form_submit_button("Leave it", key="leave-item", on_click=_close)
    if st.session_state.get(_ITEM) is None:
        st.rerun()


def _field(name: str, item: ItemResponse) -> str:
    return f"edit-{name}-{item.item_id}"


def _close() -> None:
    st.session_state.pop(_ITEM, None)


def _save(dataset: str, item: ItemResponse) -> None:
    told = {name: st.session_state[_field(name, item)] for name in ("title", "genres", "year", "tags", "text")}
    genres, tags = (
        tuple(word.strip() for word in told[name].split(",") if word.strip()) for name in ("genres", "tags")
    )
    try:
        title, text = told["title"].strip(), told["text"].strip()
        update = ItemUpdate(title=title, genres=genres, year=told["year"], tags=tags, text=text)
        client().put_item(item.item_id, update, dataset)
    except BackendError as error:
        st.session_state[_TROUBLE] = str(error)
    except ValueError:
        st.session_state[_TROUBLE] = "An item needs a title, and title and genres no line ends or other control signs."
    else:
        st.session_state[_DONE] = f"{update.title} is saved."
        _close()
