"""Users: what is stored of one, and its deletion."""

from datetime import UTC, datetime

import streamlit as st

from dashboard.components.confirmation import Confirmation
from dashboard.components.connection import client
from dashboard.components.covers import Card, cover_grid
from dashboard.components.dataset_choice import chosen_dataset
from dashboard.components.states import backend_needed
from dashboard.plain_text import in_markdown
from dashboard.transport import RefusedError
from fedmem.contracts import UserHistory
from fedmem.times import FIRST_DATE

AT_ONCE, LONGEST, COVERS = 50, 200, 12
_DONE = "user-deleted"
_DATASET = "users-of"
_URL = "user"


def _delete(user_id: str) -> None:
    dataset = st.session_state[_DATASET]
    client().delete_user(user_id, dataset)
    st.query_params.pop(_URL, None)
    st.session_state[_DONE] = f"User {user_id} of {dataset} is deleted."


DELETION = Confirmation("delete-user", "Delete this user for good?", "Delete the user", _delete, destroys=True)


def users() -> None:
    """Find a user, show what is stored of them, and delete it on demand."""
    st.title("Users")
    with backend_needed():
        dataset = chosen_dataset("Users")
        if dataset is None:
            return
        if st.session_state.get(_DATASET, dataset) != dataset:  # users are others
            st.query_params.pop(_URL, None)
        st.session_state[_DATASET] = dataset
        if _DONE in st.session_state:
            st.success(in_markdown(st.session_state[_DONE]), icon=":material/check_circle:")
        user_id = _picked(dataset)
        if user_id is not None:
            _user(dataset, user_id)


def _picked(dataset: str) -> str | None:
    query = st.text_input("Id", key="users-query", max_chars=LONGEST, placeholder="part of an id", width=320).strip()
    page = client().users(query, AT_ONCE, dataset)
    named = st.query_params.get(_URL)
    counts = {user.user_id: user.interactions for user in page.users}
    options = [named, *counts] if named and not query and named not in counts else list(counts)
    if not options:
        st.info(f"No user's id contains “{in_markdown(query)}”." if query else "It has no users.")
        return None
    chosen: str = st.selectbox(
        "User",
        options,
        index=options.index(named) if named in options else 0,
        key=f"users-choice-{dataset}",
        format_func=lambda user_id: _with_count(user_id, counts.get(user_id)),
        width=320,
    )
    st.query_params[_URL] = chosen
    if page.next is not None:
        st.caption(f"The first {len(counts)}; write more of the id to find another.")
    return chosen


def _with_count(user_id: str, count: int | None) -> str:
    """Name a user with the number of interactions, where the list holds it."""
    return user_id if count is None else f"{user_id} ({_interactions(count)})"


def _user(dataset: str, user_id: str) -> None:
    try:
        stored = client().history(user_id, dataset)
    except RefusedError as error:
        if error.status != 404:
            raise
        st.info(in_markdown(error))
        return
    with st.container(border=True):
        st.markdown(f"**User {in_markdown(user_id)}**")
        st.markdown(f"{_amount(stored)}{_when(stored)}")
        latest = [Card(entry.item_id, entry.title) for entry in reversed(stored.interactions[-COVERS:])]
        if latest:
            st.caption("The latest first:")
            cover_grid(latest, dataset, "strip")
        st.button("Delete this user", icon=":material/delete:", key="delete-user", on_click=_ask, args=(user_id,))
    if DELETION.about == user_id:
        DELETION.draw(
            f"**User {in_markdown(user_id)}** of the data set {in_markdown(dataset)} goes for good: {_amount(stored)}, "
            "and the user's memory in every checkpoint. Later imports do not bring back what happened until now. What "
            "weights have learned stays in them; jobs that go on train without this user."
        )


def _ask(user_id: str) -> None:
    st.session_state.pop(_DONE, None)
    DELETION.ask(user_id)


def _amount(stored: UserHistory) -> str:
    answers = len({one.recommendation_id for one in stored.impressions})
    noted = f" and {answers:,} noted {'answer' if answers == 1 else 'answers'}" if answers else ""
    return f"{_interactions(len(stored.interactions))}{noted}"


def _interactions(count: int) -> str:
    return f"{count:,} {'interaction' if count == 1 else 'interactions'}"


def _when(stored: UserHistory) -> str:
    times = [entry.timestamp for entry in stored.interactions]
    if not times or times[0] < FIRST_DATE:  # steps
        return ""
    first, last = (f"{datetime.fromtimestamp(moment, UTC):%d %b %Y}" for moment in (times[0], times[-1]))
    return f", from {first} to {last}"


if __name__ == "__main__":
    users()
