"""Whose history it is: a known user's, or one that the reader puts together by titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

import streamlit as st

from dashboard.components.connection import client
from dashboard.components.covers import Card, cover_grid
from dashboard.plain_text import in_markdown
from dashboard.transport import RefusedError

USER, OWN = "A known user", "A history of your own"
FOUND, LONGEST = 8, 200  # titles that are offered, letters that are looked for
MOST_USERS = 500
AT_ONCE = 30  # covers, each of which is asked for
_LAST, _LAST_KIND, _LAST_USER = "own-items", "last-kind", "last-user"


@dataclass(frozen=True)
class Taken:
    """The items of a history, oldest first, as (id, title)."""

    name: str
    user_id: str | None
    items: tuple[tuple[str, str], ...]


def history(dataset: str) -> Taken | None:
    """Ask whose history it is; None where no user is chosen. Unless the address says so, as it was asked last."""
    last = USER if "user" in st.query_params else st.session_state.get(_LAST_KIND, USER)
    kind = st.segmented_control(
        "Whose history?",
        [USER, OWN],
        required=True,
        key="whose",
        default=OWN if "items" in st.query_params else last,
        label_visibility="collapsed",
    )
    st.session_state[_LAST_KIND] = kind
    if kind == OWN:
        st.query_params.pop("user", None)
        return _own(dataset)
    st.query_params.pop("items", None)
    return _user(dataset)


def history_strip(taken: Taken, dataset: str) -> None:
    """Show the items as covers, the latest first; more of them on demand."""
    count, key = len(taken.items), f"strip-{taken.name}"
    shown: int = st.session_state.get(key, AT_ONCE)
    with st.container(border=True):
        latest = ", the latest first" if count > 1 else ""
        part = f"; {shown} of them are shown" if count > shown else ""
        st.markdown(f"**{in_markdown(taken.name)}** {_amount(taken)}{latest}{part}")
        if taken.items:
            cards = [Card(item_id, title) for item_id, title in reversed(taken.items[-shown:])]
            cover_grid(cards, dataset, "strip")
        if count > shown:
            more = f"{min(AT_ONCE, count - shown)} earlier ones"
            st.button(more, icon=":material/history:", key="earlier-items", on_click=_show_more, args=(key,))


def _amount(taken: Taken) -> str:
    count = len(taken.items)
    if count:
        return f"has taken {count} {'item' if count == 1 else 'items'}"
    return "is empty so far: look for titles above" if taken.user_id is None else "has taken nothing that is known"


def _show_more(key: str) -> None:
    st.session_state[key] = st.session_state.get(key, AT_ONCE) + AT_ONCE


def _user(dataset: str) -> Taken | None:
    page = client().users(limit=MOST_USERS, dataset=dataset)
    names = [user.user_id for user in page.users]
    last = f"{_LAST_USER}-{dataset}"
    wanted = st.query_params.get("user") or st.session_state.get(last)
    options = names if wanted is None or wanted in names else [wanted, *names]
    user_id = st.selectbox(
        "User",
        options,
        index=options.index(wanted) if wanted else 0,
        accept_new_options=True,
        key="user-choice",
        help="Type any id; an unknown user is answered by what most have taken.",
        width=320,
    )
    if page.next is not None:
        st.caption(f"The list holds the first {len(names)} users. Type the id of any other.")
    if not user_id:
        st.caption("Type a user's id, or put a history together.")
        return None
    st.query_params["user"] = st.session_state[last] = user_id
    return Taken(f"User {user_id}", user_id, _known(user_id, dataset))


def _known(user_id: str, dataset: str) -> tuple[tuple[str, str], ...]:
    try:
        found = client().history(user_id, dataset=dataset).interactions
    except RefusedError as error:
        if error.status != 404:
            raise
        return ()
    return tuple((entry.item_id, entry.title) for entry in found)


def _own(dataset: str) -> Taken:
    st.caption("Nothing of this is stored: it is sent along with the question.")
    titles = {item_id: _title(item_id, dataset) for item_id in _linked(dataset)}
    chosen = {item_id: title for item_id, title in titles.items() if title is not None}
    unknown = [f"“{in_markdown(item_id)}”" for item_id, title in titles.items() if title is None]
    if unknown:
        st.warning(
            f"The data set {in_markdown(dataset)} has no item {', '.join(unknown)}, so the answer does without. "
            "Look for it by its title.",
            icon=":material/search_off:",
        )
    query = st.text_input(
        "Search titles", key="own-search", max_chars=LONGEST, placeholder="part of a title", width=320
    )
    if query:
        _results(dataset, query, chosen)
    if chosen:
        _chosen(dataset, chosen)
    return Taken("Your own history", None, tuple(chosen.items()))


def _chosen(dataset: str, chosen: dict[str, str]) -> None:
    """Show what was taken; another history is another widget, because the options of one cannot grow."""
    key = f"own-{','.join(chosen)}"
    st.multiselect(
        "Taken, oldest first",
        list(chosen),
        default=list(chosen),
        format_func=chosen.__getitem__,
        key=key,
        on_change=lambda: _link(dataset, st.session_state[key]),
    )


def _linked(dataset: str) -> list[str]:
    """Read the history in the address; or the data set's last one, where the reader comes back from another page."""
    given = st.query_params.get("items") or st.session_state.get(f"{_LAST}-{dataset}", "")
    item_ids = [unquote(item_id) for item_id in given.split(",") if item_id]
    _link(dataset, item_ids)
    return list(dict.fromkeys(item_ids))


def _link(dataset: str, item_ids: Sequence[str]) -> None:
    """Write it into the address, even if empty: that says that the history is the reader's own."""
    written = ",".join(quote(item_id, safe="") for item_id in item_ids)
    st.session_state[f"{_LAST}-{dataset}"] = st.query_params["items"] = written


@st.cache_data(show_spinner=False, max_entries=20_000, ttl=3600)
def _title(item_id: str, dataset: str) -> str | None:
    """Look up a title; None for what is not in the catalogue."""
    try:
        return client().item(item_id, dataset).title
    except RefusedError as error:
        if error.status not in (404, 422):  # 422: what cannot be an id
            raise
        return None


def _results(dataset: str, query: str, chosen: dict[str, str]) -> None:
    page = client().items(query, FOUND, dataset)
    if not page.items:
        st.caption(f"No title contains “{in_markdown(query)}”.")
    with st.container(horizontal=True):
        for item in page.items:
            st.button(
                in_markdown(item.title),
                icon=":material/add:",
                key=f"add-{item.item_id}",
                disabled=item.item_id in chosen,
                on_click=_link,
                args=(dataset, [*chosen, item.item_id]),
            )
    if page.total > len(page.items):
        st.caption(f"These are {len(page.items)} of {page.total:,} titles that contain “{in_markdown(query)}”.")
