"""Shares of answers that led to something, with their 95 % intervals."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import ROWS, Drawing, rows, specification
from dashboard.charts.palette import BLUE, GREY
from fedmem.contracts import OnlineGroup, Rate

BAR, MARGIN = 30, 70
BESIDE = 10  # pixels: a dot at zero reaches beyond the axis, and would lie on the names
_ABOVE: Any = {"titleAngle": 0, "titleAlign": "right", "titleAnchor": "end", "titleX": -8, "titleY": -8}


def rates_chart(groups: Sequence[OnlineGroup], outcome: str, of: str) -> Drawing:
    """Draw a dot for each group and its interval; ``outcome`` is ``click`` or ``hit``."""
    rates: list[tuple[OnlineGroup, Rate | None]] = [
        (group, group.click_rate if outcome == "click" else group.hit_rate) for group in groups
    ]
    data = [
        [group.name, place, rate.value, rate.low, rate.high, group.answers]
        for place, (group, rate) in enumerate(rates)
        if rate is not None
    ]
    table = pd.DataFrame(data, columns=["group", "place", "value", "low", "high", "answers"])
    return Drawing(_specification(f"Answers with a {outcome} (share)", of, len(data)), {ROWS: table})


@cache
def _specification(x_title: str, of: str, count: int) -> dict[str, Any]:
    order = alt.EncodingSortField("place", order="ascending")
    y = alt.Y(
        "group:N", title=of, sort=order, axis=alt.Axis(labelLimit=180, labelFlush=False, labelPadding=BESIDE, **_ABOVE)
    )
    base = alt.Chart(rows()).encode(y=y)
    scale = alt.Scale(zero=True, nice=True)
    axis = alt.Axis(format=".1%", tickCount=4)
    tooltip = [
        alt.Tooltip("group:N", title=of),
        alt.Tooltip("answers:Q", title="Answers", format=",d"),
        alt.Tooltip("value:Q", title=x_title, format=".2%"),
        alt.Tooltip("low:Q", title="95 % interval, lower end", format=".2%"),
        alt.Tooltip("high:Q", title="95 % interval, upper end", format=".2%"),
    ]
    interval = base.mark_rule(color=GREY, strokeWidth=2).encode(
        x=alt.X("low:Q", title=x_title, scale=scale, axis=axis), x2="high:Q"
    )
    dot = base.mark_circle(size=110, opacity=1, color=BLUE).encode(
        x=alt.X("value:Q", title=x_title, scale=scale, axis=axis), tooltip=tooltip
    )
    return specification(alt.layer(interval, dot), MARGIN + BAR * count)
