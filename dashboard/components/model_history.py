"""What served when, and the way back to what served before."""

import streamlit as st

from dashboard.components.confirmation import Confirmation
from dashboard.components.connection import client
from dashboard.components.tables import words_table
from dashboard.plain_text import in_markdown
from dashboard.words import ago
from fedmem.contracts import Activation

ROLLBACK = Confirmation("rollback", "Roll back?", "Roll back", lambda dataset: client().roll_back(dataset))


def model_history() -> None:
    """Show the activations as a table, and offer to roll a data set back that had more than one."""
    found = client().model_history().activations
    if not found:
        return
    st.subheader("What served when")
    words_table([_row(activation) for activation in found])
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
        st.button("Roll back", icon=":material/undo:", key="rollback", on_click=ROLLBACK.ask, args=(dataset,))
    asked = ROLLBACK.about
    if asked is not None and asked in datasets:
        ROLLBACK.draw(
            f"The model that served {in_markdown(asked)} before serves again, and once more, the one before that. It "
            "is loaded and checked first, no request fails meanwhile, and any model can be put into service above."
        )
