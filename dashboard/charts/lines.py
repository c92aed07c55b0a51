"""Lines over rounds: the chart that most of a training job is shown by.

Rows: round, value, low, high, series, kind. A `line` may have a band (low, high); `best` marks a point; a `reference` is
a level that holds for all rounds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import altair as alt
import pandas as pd

from dashboard.charts.drawing import HEIGHT, ROUND_TITLE, ROWS, Drawing, rows, specification, zoom_by_round
from dashboard.charts.palette import GREY, colours

Kind = Literal["line", "best", "reference"]


@dataclass(frozen=True)
class Row:
    """One row of the data."""

    round: int
    value: float
    series: str
    kind: Kind = "line"
    low: float | None = None
    high: float | None = None


COLUMNS = ("round", "value", "series", "kind", "low", "high")


def lines(
    data: Iterable[Row],
    y_title: str,
    series: Sequence[str],
    *,
    palette: Sequence[str] | None = None,
    y_format: str = "~g",
    zero: bool = False,
    height: int = HEIGHT,
) -> Drawing:
    """Lines of some series over rounds.

    Args:
        data: the rows, of all kinds.
        y_title: what is measured, with its unit in brackets.
        series: all that may occur, in the order of the legend; the specification depends on them, not on the rows.
        palette: their colours, if not the usual ones.
        y_format: d3's format of a value.
        zero: whether the value axis starts at zero.
        height: pixels.
    """
    table = pd.DataFrame([[getattr(row, column) for column in COLUMNS] for row in data], columns=list(COLUMNS))
    table = table.astype({"round": "int64", "value": "float64", "low": "float64", "high": "float64"})
    spec = _specification(y_title, tuple(series), tuple(palette or colours(len(series))), y_format, zero, height)
    return Drawing(spec, {ROWS: table})


@cache
def _specification(
    y_title: str, series: tuple[str, ...], palette: tuple[str, ...], y_format: str, zero: bool, height: int
) -> dict[str, Any]:
    legend = None if len(series) == 1 else alt.Legend(orient="bottom", title=None, columns=3, labelLimit=260)
    colour = alt.Color("series:N", scale=alt.Scale(domain=list(series), range=list(palette)), legend=legend)
    x = alt.X(
        "round:Q", title=ROUND_TITLE, axis=alt.Axis(format="d", tickMinStep=1, grid=False), scale=alt.Scale(nice=False)
    )
    y = alt.Y("value:Q", title=y_title, axis=alt.Axis(format=y_format, tickCount=5), scale=alt.Scale(zero=zero))
    tooltip = [
        alt.Tooltip("series:N", title="Series"),
        alt.Tooltip("round:Q", title="Round"),
        alt.Tooltip("value:Q", title=y_title, format=".4~g"),
    ]
    base = alt.Chart(rows()).encode(x=x, y=y, color=colour)
    only_lines = base.transform_filter("datum.kind === 'line'")
    layers = [
        only_lines.mark_area(opacity=0.15, line=False).encode(y=alt.Y("low:Q", title=y_title), y2="high:Q"),
        only_lines.mark_line(strokeWidth=2),
        _reference(y, y_title, tooltip),
        only_lines.mark_circle(size=120, opacity=0).encode(tooltip=tooltip),
        base.transform_filter("datum.kind === 'best'")
        .mark_point(shape="diamond", size=110, filled=True, stroke="white", strokeWidth=1, opacity=1)
        .encode(tooltip=tooltip),
    ]
    return specification(alt.layer(*layers).add_params(zoom_by_round()), height)


def _reference(y: alt.Y, y_title: str, tooltip: list[alt.Tooltip]) -> Any:
    base = alt.Chart(rows()).transform_filter("datum.kind === 'reference'").encode(y=y)
    rule = base.mark_rule(strokeDash=[5, 4], color=GREY, strokeWidth=1.5).encode(tooltip=[tooltip[0], tooltip[2]])
    label = base.mark_text(align="right", dx=-4, dy=-7, color=GREY, fontSize=11).encode(
        x=alt.value("width"), text="series:N"
    )
    return alt.layer(rule, label)
