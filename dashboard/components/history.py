"""Whose history it is: a known user's, or one that the reader puts together by titles."""

from dataclasses import dataclass

import streamlit as st

from dashboard.client import RefusedError
from dashboard.components.connection import client

USER, OWN = "A known user", "A history of your own"
FOUND = 8
MOST_USERS = 500


@dataclass(frozen=True)
class Taken:
    """Somebody's items, oldest first, as (id, title)."""

    name: str
    user_id: str | None
    items: tuple[tuple[str, str], ...]


def history(dataset: str) -> Taken | None:
    """Ask for it; None where there is nobody to ask about."""
    given = [USER, OWN]
    kind = st.segmented_control(
        "Whose history?",
        given,
        key="whose",
        default=OWN if st.query_params.get("items") else USER,
        label_visibility="collapsed",
    )
    if kind == OWN:
        st.query_params.pop("user", None)
        return _own(dataset)
    st.query_params.pop("items", None)
    return _user(dataset)


def _user(dataset: str) -> Taken | None:
    names = [user.user_id for user in client().users(limit=MOST_USERS, dataset=dataset).users]
    wanted = st.query_params.get("user")
    options = list(dict.fromkeys([*([wanted] if wanted else []), *names]))
    user_id = st.selectbox(
        "User",
        options,
        index=options.index(wanted) if wanted else 0,
        accept_new_options=True,
        key="user-choice",
        help="Type any id; somebody unknown is answered from the global memory.",
        width=320,
    )
    if not user_id:
        return None
    st.query_params["user"] = user_id
    try:
        known = client().history(user_id, dataset=dataset).interactions
    except RefusedError as error:
        if error.status != 404:
            raise
        known = ()
    return Taken(f"User {user_id}", user_id, tuple((entry.item_id, entry.title) for entry in known))


def _own(dataset: str) -> Taken:
    chosen: dict[str, str] = st.session_state.setdefault(f"own-{dataset}", {})
    _from_url(dataset, chosen)
    st.caption("Nothing of this is stored: it is sent along with the question.")
    query = st.text_input("Search titles", key="own-search", placeholder="part of a title", width=320)
    if query:
        _results(dataset, query, chosen)
    if chosen:
        kept = st.multiselect(
            "Taken, oldest first", list(chosen), default=list(chosen), format_func=chosen.__getitem__, key=_mark(chosen)
        )
        if len(kept) != len(chosen):
            st.session_state[f"own-{dataset}"] = chosen = {item_id: chosen[item_id] for item_id in kept}
    if chosen:
        st.query_params["items"] = ",".join(chosen)
    else:
        st.query_params.pop("items", None)
    return Taken("Your own history", None, tuple(chosen.items()))


def _mark(chosen: dict[str, str]) -> str:
    """Another choice, another widget: its options cannot grow."""
    return f"own-chosen-{len(chosen)}-{hash(tuple(chosen)) % 10**8}"


def _results(dataset: str, query: str, chosen: dict[str, str]) -> None:
    found = client().items(query, FOUND, dataset).items
    if not found:
        st.caption(f"No title contains “{query}”.")
    with st.container(horizontal=True):
        for item in found:
            st.button(
                item.title,
                icon=":material/add:",
                key=f"add-{item.item_id}",
                disabled=item.item_id in chosen,
                on_click=chosen.__setitem__,
                args=(item.item_id, item.title),
            )


def _from_url(dataset: str, chosen: dict[str, str]) -> None:
    """A link to a history brings it along."""
    given = [item_id for item_id in st.query_params.get("items", "").split(",") if item_id]
    if given and not chosen and not st.session_state.get("own-linked"):
        titles = {item.item_id: item.title for item in client().items(limit=500, dataset=dataset).items}
        chosen.update({item_id: titles.get(item_id, item_id) for item_id in given})
    st.session_state["own-linked"] = True
