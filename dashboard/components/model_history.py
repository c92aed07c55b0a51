"""What served when, and the way back to what served before."""

import pandas as pd
import streamlit as st

from dashboard.client import BackendError
from dashboard.components.connection import client
from dashboard.plain_text import in_markdown
from dashboard.words import ago
from fedmem.contracts import Activation

_QUESTION, _TROUBLE = "rollback-question", "rollback-trouble"


def model_history() -> None:
    """Show the activations as a table, and offer to roll a data set back that had more than one."""
    found = client().model_history().activations
    if not found:
        return
    st.subheader("What served when")
    st.dataframe(pd.DataFrame(map(_row, found)), hide_index=True, width="stretch")
    served = [activation.dataset for activation in found]
    several = [dataset for dataset in dict.fromkeys(served) if served.count(dataset) > 1]
    if several:
        _offer(several)


def _row(activation: Activation) -> dict[str, str]:
    return {
        "Data set": activation.dataset,
        "Model": activation.version,
        "Since": ago(activation.since),
        "Until": "now" if activation.until is None else ago(activation.until),
        "Why": activation.reason,
    }


def _offer(datasets: list[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dataset = st.selectbox("Data set", datasets, key="rollback-dataset", width=280)
        st.button("Roll back", icon=":material/undo:", key="rollback", on_click=_question, args=(dataset,))
    if st.session_state.get(_QUESTION) in datasets:
        _confirm(st.session_state[_QUESTION])


def _question(dataset: str) -> None:
    st.session_state[_QUESTION] = dataset
    st.session_state.pop(_TROUBLE, None)


def _answered() -> None:
    st.session_state.pop(_QUESTION, None)


@st.dialog("Roll back?", on_dismiss=_answered)
def _confirm(dataset: str) -> None:
    st.markdown(
        f"The model that served {in_markdown(dataset)} before serves again, and once more, the one before that. It is "
        "loaded and checked first, no request fails meanwhile, and any model can be put into service again above."
    )
    if _TROUBLE in st.session_state:
        st.error(in_markdown(st.session_state[_TROUBLE]), icon=":material/error:")
    with st.container(horizontal=True):
        st.button("Roll back", type="primary", key="confirm-rollback", on_click=_roll_back, args=(dataset,))
        st.button("Leave it", key="leave-history", on_click=_answered)
    if _QUESTION not in st.session_state:
        st.rerun()


def _roll_back(dataset: str) -> None:
    """Do it and close the question, or keep it open with what was wrong."""
    try:
        client().roll_back(dataset)
    except BackendError as error:
        st.session_state[_TROUBLE] = str(error)
    else:
        _answered()
