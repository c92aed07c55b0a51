"""The Experiments page's chart: test metrics with their standard errors, one dot a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import ROWS, Drawing, rows, specification
from dashboard.charts.palette import BLUE, GREY
from dashboard.words import ranking_title

_TITLE: Any = {"titleAngle": 0, "titleAlign": "right", "titleAnchor": "end", "titleX": -8, "titleY": -8}
BAR, MARGIN = 36, 70


@dataclass(frozen=True)
class Result:
    """What a run reached on the test split."""

    run: str
    value: float
    error: float


def results_chart(results: Sequence[Result], metric: str) -> Drawing:
    """Draw dots with one standard error to either side."""
    data = [[r.run, place, r.value, r.value - r.error, r.value + r.error] for place, r in enumerate(results)]
    table = pd.DataFrame(data, columns=["run", "place", "value", "low", "high"])
    return Drawing(_specification(f"Test: {ranking_title(metric)}", len(results)), {ROWS: table})


@cache
def _specification(x_title: str, count: int) -> dict[str, Any]:
    y = alt.Y(
        "run:N",
        title="Run (job)",
        sort=alt.EncodingSortField("place", order="ascending"),
        axis=alt.Axis(labelLimit=220, labelFlush=False, **_TITLE),
    )
    base = alt.Chart(rows()).encode(y=y)
    scale = alt.Scale(zero=False, padding=16, nice=True)
    tooltip = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("value:Q", title=x_title, format=".4f"),
        alt.Tooltip("low:Q", title="Minus one standard error", format=".4f"),
        alt.Tooltip("high:Q", title="Plus one standard error", format=".4f"),
    ]
    error = base.mark_rule(color=GREY, strokeWidth=2).encode(x=alt.X("low:Q", title=x_title, scale=scale), x2="high:Q")
    dot = base.mark_circle(color=BLUE, size=110, opacity=1).encode(x=alt.X("value:Q", title=x_title, scale=scale))
    return specification(alt.layer(error, dot.encode(tooltip=tooltip)), MARGIN + BAR * count)
