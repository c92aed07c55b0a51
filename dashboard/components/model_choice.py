"""The choice of one of several data sets that have a model in service."""

import streamlit as st

from dashboard.components.connection import client
from fedmem.contracts import InService

_LAST_DATASET = "last-dataset"


def chosen_model() -> InService | None:
    """Get the model in service; of several, that of the data set that the reader chooses, which the address names."""
    models = {model.dataset: model for model in client().models().in_service}
    if len(models) < 2:
        return next(iter(models.values()), None)
    last = st.query_params.get("dataset", st.session_state.get(_LAST_DATASET))
    first = (
        last if last in models else next((name for name, model in models.items() if model.default), next(iter(models)))
    )
    dataset = st.selectbox("Data set", list(models), index=list(models).index(first), key="of-dataset", width=320)
    if last not in (None, dataset):  # users and items are others
        for name in ("user", "items", "latest"):
            st.query_params.pop(name, None)
    st.query_params["dataset"] = st.session_state[_LAST_DATASET] = dataset
    return models[dataset]
