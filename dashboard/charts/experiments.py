"""The Experiments page's charts: test metrics with their standard errors, and differences with their intervals."""

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
STRONG, FAINT = "strong", "faint"


@dataclass(frozen=True)
class Result:
    """What a run reached on the test split; of a baseline the level is drawn through all rows where it is the best."""

    run: str
    value: float
    error: float
    baseline: bool = False


@dataclass(frozen=True)
class Gap:
    """A model's difference to another, with its 95 % interval."""

    other: str
    mean: float
    low: float
    high: float
    p: float

    @property
    def real(self) -> bool:
        """Say whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def results_chart(results: Sequence[Result], metric: str, of: str = "Run (job)") -> Drawing:
    """Draw dots with one standard error to either side, and the strongest baseline as a line."""
    strongest = max((r.value for r in results if r.baseline), default=None)
    data = [
        [r.run, place, r.value, r.value - r.error, r.value + r.error, FAINT if r.baseline else STRONG, strongest]
        for place, r in enumerate(results)
    ]
    table = pd.DataFrame(data, columns=["run", "place", "value", "low", "high", "look", "level"])
    beside = "Minus one standard error", "Plus one standard error"
    return Drawing(
        _specification(f"Test: {ranking_title(metric)}", of, beside, len(results), strongest is not None), {ROWS: table}
    )


def differences_chart(gaps: Sequence[Gap], metric: str) -> Drawing:
    """Draw a model minus each other one with its 95 % interval; grey is what may be nothing."""
    data = [[g.other, place, g.mean, g.low, g.high, STRONG if g.real else FAINT, 0.0] for place, g in enumerate(gaps)]
    table = pd.DataFrame(data, columns=["run", "place", "value", "low", "high", "look", "level"])
    ends = "95 % interval, lower end", "95 % interval, upper end"
    title = f"Difference in {metric} (test)"
    return Drawing(_specification(title, "Other (model)", ends, len(gaps), True), {ROWS: table})


@cache
def _specification(x_title: str, of: str, ends: tuple[str, str], count: int, level: bool) -> dict[str, Any]:
    y = alt.Y(
        "run:N",
        title=of,
        sort=alt.EncodingSortField("place", order="ascending"),
        axis=alt.Axis(labelLimit=220, labelFlush=False, **_TITLE),
    )
    chart = alt.Chart(rows())
    base = chart.encode(y=y)
    scale = alt.Scale(zero=False, padding=16, nice=True)
    colour = alt.Color("look:N", scale=alt.Scale(domain=[STRONG, FAINT], range=[BLUE, GREY]), legend=None)
    tooltip = [
        alt.Tooltip("run:N", title=of),
        alt.Tooltip("value:Q", title=x_title, format=".4f"),
        alt.Tooltip("low:Q", title=ends[0], format=".4f"),
        alt.Tooltip("high:Q", title=ends[1], format=".4f"),
    ]
    error = base.mark_rule(color=GREY, strokeWidth=2).encode(x=alt.X("low:Q", title=x_title, scale=scale), x2="high:Q")
    dot = base.mark_circle(size=110, opacity=1).encode(x=alt.X("value:Q", title=x_title, scale=scale), color=colour)
    line = chart.mark_rule(color=GREY, strokeDash=[5, 4]).encode(x=alt.X("level:Q", title=x_title, scale=scale))
    layers = [*([line] if level else []), error, dot.encode(tooltip=tooltip)]
    return specification(alt.layer(*layers), MARGIN + BAR * count)
