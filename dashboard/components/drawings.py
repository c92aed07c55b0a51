"""Charts on the page: the canvas stays, and its zoom with it, as long as the specification is the same."""

import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.charts.drawing import ZOOM, Drawing
from dashboard.charts.palette import on_page
from dashboard.charts.thinning import Range, thinned


def show(drawing: Drawing, key: str) -> None:
    """Draw it. Where it zooms, Streamlit is told of the zoom, because it resets the zooms that it does not know."""
    spec = {**themed(drawing.spec, st.context.theme.type), "datasets": dict(drawing.datasets)}
    if drawing.zooms:
        st.vega_lite_chart(spec=spec, key=key, width="stretch", on_select="rerun", selection_mode=ZOOM)
    else:
        st.vega_lite_chart(spec=spec, key=key, width="stretch")


NOTHING = "Not measured in this run so far."


def panel(title: str, drawing: Drawing, key: str, note: str | None = None, nothing: str = NOTHING) -> None:
    """Show a chart under its title, in a frame; or, of one without values, why there is nothing."""
    drawn, step = thinned(drawing, _zoomed_to(key))
    notes = [note] if note else []
    notes += [f"One of {step} points is drawn; zoom in to see each."] if step > 1 else []
    with st.container(border=True):
        st.markdown(f"**{title}**", help=" ".join(notes) or None)
        if drawing.empty:
            st.caption(nothing)
        else:
            show(drawn, key)


def _zoomed_to(key: str) -> Range | None:
    """Look up the rounds that a chart shows, if the reader has zoomed in."""
    selection = st.session_state.get(key, {}).get("selection", {})
    rounds = selection.get(ZOOM, {}).get("round")
    return (rounds[0], rounds[-1]) if rounds else None


def themed(spec: Mapping[str, Any], theme: str | None) -> dict[str, Any]:
    """Put the specification into the colours of a light or a dark page."""
    themed_spec: dict[str, Any] = json.loads(on_page(json.dumps(spec), theme))
    return themed_spec
