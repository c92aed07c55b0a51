"""Items: found by title, hidden and shown, and edited."""

import streamlit as st

from dashboard.components.connection import client
from dashboard.components.dataset_choice import chosen_dataset
from dashboard.components.edit_item import ask_edit, edited_item, said_of_last
from dashboard.components.states import backend_needed
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from dashboard.words import item_kind
from fedmem.contracts import ItemAvailability, ItemPage, ItemResponse

AT_ONCE = 20
LONGEST = 200  # letters that are looked for
WHICH = {"All": None, "Shown": True, "Hidden": False}
_SAID, _TROUBLE, _FROM = "items-said", "items-trouble", "items-from"


def items() -> None:
    """Show the items that are looked for, with what can be done about them."""
    st.title("Items")
    with backend_needed():
        dataset = chosen_dataset("Items")
        if dataset is None:
            return
        query, page = _found(dataset)
        said_of_last()
        for key, show in ((_SAID, st.success), (_TROUBLE, st.error)):
            if key in st.session_state:
                show(in_markdown(st.session_state[key]))
        if not page.items:
            st.info(_nothing(query), icon=":material/search_off:")
            return
        _actions(dataset, page)
        with st.container(border=True):
            for item in page.items:
                _row(dataset, item)
        _pages(page)
        edited_item(dataset)


def _found(dataset: str) -> tuple[str, ItemPage]:
    left, right = st.columns([3, 2])
    query = left.text_input("Title", key="items-query", max_chars=LONGEST, placeholder="part of a title").strip()
    which = right.segmented_control("Which", list(WHICH), default="All", key="items-which", required=True)
    place = (dataset, query, which)
    offset, known = st.session_state.get(_FROM, (0, place))
    if known != place:  # another question begins at its first page
        offset = 0
        st.session_state.pop(_SAID, None)
    st.session_state[_FROM] = offset, place
    return query, client().items(query, AT_ONCE, dataset, available=WHICH[which], offset=offset)


def _nothing(query: str) -> str:
    return f"No such item has “{in_markdown(query)}” in its title." if query else "There is no such item."


def _key(dataset: str, item: ItemResponse) -> str:
    return f"item-{dataset}-{item.item_id}"


def _row(dataset: str, item: ItemResponse) -> None:
    """Show an item with a box to choose it by, and the id that API and commands know; what is hidden says so."""
    about = " · ".join(filter(None, (item.item_id, item_kind(item.title, item.genres, item.year))))
    words = [in_markdown(f"{item.title} · {about}")]
    words += [":orange-badge[hidden]"] * (not item.available)
    with st.container(horizontal=True, vertical_alignment="center", key=f"item-row-{item.item_id}"):
        st.checkbox(" ".join(words), key=_key(dataset, item), width="stretch")
        st.button("Edit", icon=":material/edit:", key=f"edit-{item.item_id}", on_click=ask_edit, args=(item.item_id,))


def _actions(dataset: str, page: ItemPage) -> None:
    chosen = [item for item in page.items if st.session_state.get(_key(dataset, item))]
    shown, hidden = ([item for item in chosen if item.available is there] for there in (True, False))
    with st.container(horizontal=True):
        for label, icon, of_them, done in (
            ("Hide", "visibility_off", shown, "hide"),
            ("Show", "visibility", hidden, "show"),
        ):
            st.button(
                f"{label} {len(of_them)}" if of_them else label,
                icon=f":material/{icon}:",
                key=f"items-{done}",
                disabled=not of_them,
                on_click=_change,
                args=(dataset, done, tuple(item.item_id for item in of_them), tuple(_key(dataset, i) for i in of_them)),
            )
    if not chosen:
        st.caption("Choose items to hide them, out of stock say: no model recommends them from the next answer on.")


def _change(dataset: str, what: str, item_ids: tuple[str, ...], boxes: tuple[str, ...]) -> None:
    for key in (_SAID, _TROUBLE):
        st.session_state.pop(key, None)
    change = ItemAvailability(hide=item_ids) if what == "hide" else ItemAvailability(show=item_ids)
    try:
        done = client().change_availability(change, dataset)
    except BackendError as error:
        st.session_state[_TROUBLE] = str(error)
        return
    for box in boxes:
        st.session_state[box] = False
    count = done.hidden + done.shown
    things, state = "item is" if count == 1 else "items are", "hidden" if what == "hide" else "shown again"
    st.session_state[_SAID] = f"{count} {things} {state}, from the next answer on."


def _pages(page: ItemPage) -> None:
    offset, place = st.session_state[_FROM]
    last = offset + len(page.items)
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, icon, to, there in (
            ("Earlier", "chevron_left", max(0, offset - AT_ONCE), offset > 0),
            ("Further", "chevron_right", offset + AT_ONCE, page.next is not None),
        ):
            st.button(
                label,
                icon=f":material/{icon}:",
                key=f"items-{label.lower()}",
                disabled=not there,
                on_click=_go,
                args=(to, place),
            )
        st.caption(f"{offset + 1:,} to {last:,} of {page.total:,}")


def _go(offset: int, place: tuple[str, str, str]) -> None:
    st.session_state[_FROM] = offset, place


if __name__ == "__main__":
    items()
