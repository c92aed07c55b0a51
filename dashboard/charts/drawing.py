"""A chart and its rows, apart: the browser keeps the canvas and its zoom as long as the specification stays the same.

A specification names its data sets and never holds them. It depends on what is shown (series, titles), not on how far a
job is, so that new rounds are new rows and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

ROWS = "rows"
ZOOM = "zoom"
ROUND_TITLE = "Round (number)"
HEIGHT = 250
SHOWN = ("line", "dot")  # kinds of rows that are values


@dataclass(frozen=True, eq=False)
class Drawing:
    """A Vega-Lite specification and the data sets it names."""

    spec: Mapping[str, Any]
    datasets: Mapping[str, pd.DataFrame]

    @property
    def empty(self) -> bool:
        """Say whether there is nothing to show."""
        main = next(iter(self.datasets.values()))
        return not len(main) or ("kind" in main and not main["kind"].isin(SHOWN).any())

    @property
    def zooms(self) -> bool:
        """Say whether the reader can zoom, so that the zoom must be kept."""
        return any(param.get("name") == ZOOM for param in self.spec.get("params", ()))


def rows(name: str = ROWS) -> Any:
    """Refer to a data set of the chart by name."""
    return alt.NamedData(name=name)


def zoom_by_round() -> alt.Parameter:
    """Drag to pan, Shift and the wheel to zoom, double-click for everything; the bare wheel scrolls the page."""
    return alt.selection_interval(
        name=ZOOM, bind="scales", encodings=["x"], zoom="wheel![event.shiftKey]", clear="dblclick"
    )


def round_axis() -> alt.X:
    """Place rounds from left to right."""
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=6, grid=False)
    # Padded, so that a mark on the last round is not cut in half.
    return alt.X("round:Q", title=ROUND_TITLE, axis=axis, scale=alt.Scale(nice=False, padding=8))


def value_axis(
    field: str, title: str, *, zero: bool = False, values_format: str | None = None, in_bytes: bool = False
) -> alt.Y:
    """Place values upwards, with a horizontal title above the axis."""
    given: Any = {} if values_format is None else {"format": values_format}
    given |= {"labelExpr": bytes_named("datum.value")} if in_bytes else {}
    axis = alt.Axis(tickCount=4, **title_above(), **given)
    return alt.Y(f"{field}:Q", title=title, axis=axis, scale=alt.Scale(zero=zero))


def bytes_named(value: str) -> str:
    """Write a Vega expression that names bytes in the unit that reads best, as the words of a page do."""
    units = (("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000))
    scaled = "".join(f"{value} >= {scale} ? format({value} / {scale}, ',.4~r') + ' {unit}' : " for unit, scale in units)
    return f"!{value} ? '0' : {scaled}format({value}, ',.0f') + ' bytes'"


def title_above() -> Any:
    """Place the title of an upright axis above it."""
    return {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": -34, "titleY": -10}


def legend(shape: str = "stroke", columns: int | alt.ExprRef = 3) -> alt.Legend:
    """Place the legend below the chart, with short strokes or squares in the colours."""
    return alt.Legend(
        orient="bottom",
        title=None,
        columns=columns,
        labelLimit=200,
        symbolType=shape,
        symbolOpacity=1,
        symbolStrokeWidth=3 if shape == "stroke" else 0,
        offset=4,
    )


def specification(chart: Any, height: int = HEIGHT) -> dict[str, Any]:
    """Make the specification that the browser gets: drawn on a canvas, as wide as its place."""
    spec: dict[str, Any] = chart.properties(height=height, width="container").to_dict()
    spec.pop("$schema", None)
    spec["usermeta"] = {"embedOptions": {"renderer": "canvas"}}
    # Said here because Streamlit says it by itself above some number of rows, and the chart would be made anew.
    spec["config"] = {"mark": {"aria": False}, "view": {"stroke": None}}
    spec["autosize"] = {"type": "fit", "contains": "padding"}
    spec["padding"] = {"left": 4, "right": 14, "top": 6, "bottom": 2}
    return spec


def axis_titles(spec: Any) -> set[str]:
    """Collect every axis title in a specification."""
    if isinstance(spec, list | tuple):
        return set().union(*map(axis_titles, spec))
    if not isinstance(spec, dict):
        return set()
    own = {
        channel["title"]
        for name, channel in spec.get("encoding", {}).items()
        if name in ("x", "y") and isinstance(channel, dict) and channel.get("title")
    }
    return own.union(*map(axis_titles, spec.values()))
