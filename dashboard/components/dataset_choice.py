"""The choice of one of the data sets, which the address names."""

import streamlit as st

from dashboard.components.connection import client
from dashboard.components.states import empty
from dashboard.plain_text import in_markdown

_URL, _LAST = "dataset", "last-dataset"


def chosen_dataset(what: str) -> str | None:
    """Get the data set that the reader chooses, the only one where there are no others; None where there is none."""
    names = [dataset.name for dataset in client().datasets().datasets]
    if not names:
        empty(
            "No data set yet",
            f"{what} come from a data set. Import a file on the page Data sets, or `fedmem data import PATH`.",
            ":material/database:",
        )
        st.page_link("views/datasets.py", label="Import a file", icon=":material/upload_file:")
        return None
    if len(names) == 1:
        st.caption(f"Of the data set {in_markdown(names[0])}.")
        return names[0]
    last = st.query_params.get(_URL, st.session_state.get(_LAST))
    chosen = st.selectbox("Data set", names, index=names.index(last) if last in names else 0, key=_URL, width=320)
    st.query_params[_URL] = st.session_state[_LAST] = chosen
    return chosen
