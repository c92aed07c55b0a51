"""Charts on the page: the canvas stays, and its zoom with it, as long as the specification is the same."""

import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.charts.drawing import ZOOM, Drawing
from dashboard.charts.palette import on_page


def show(drawing: Drawing, key: str) -> None:
    """Draw it. Where it zooms, Streamlit is told of the zoom, because it resets the zooms that it does not know."""
    spec = {**themed(drawing.spec, st.context.theme.type), "datasets": dict(drawing.datasets)}
    if drawing.zooms:
        st.vega_lite_chart(spec=spec, key=key, width="stretch", on_select="rerun", selection_mode=ZOOM)
    else:
        st.vega_lite_chart(spec=spec, key=key, width="stretch")


def panel(title: str, drawing: Drawing, key: str, note: str | None = None) -> None:
    """A chart under its title, in a frame."""
    with st.container(border=True):
        st.markdown(f"**{title}**", help=note)
        if drawing.empty:
            st.caption("Not measured in this run so far.")
        else:
            show(drawing, key)


def themed(spec: Mapping[str, Any], theme: str | None) -> dict[str, Any]:
    """The specification in the colours of a light or a dark page."""
    themed_spec: dict[str, Any] = json.loads(on_page(json.dumps(spec), theme))
    return themed_spec
