"""The difference between the arms of A/B tests, with its interval."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import ROWS, Drawing, rows, specification
from dashboard.charts.palette import BLUE, GREY
from fedmem.contracts import Effect

BAR, MARGIN = 36, 70


def effects_chart(effects: Sequence[tuple[str, Effect]]) -> Drawing:
    """Draw treatment minus control by outcome; grey is what may be nothing."""
    data = [[name, one.value, one.low, one.high, "real" if one.real else "open", 0.0] for name, one in effects]
    table = pd.DataFrame(data, columns=["outcome", "value", "low", "high", "look", "zero"])
    title = "Treatment minus control (share of users)"
    above: Any = {"titleAngle": 0, "titleAlign": "right", "titleAnchor": "end", "titleX": -8, "titleY": -8}
    base = alt.Chart(rows()).encode(
        y=alt.Y("outcome:N", title="Outcome (kind)", sort=None, axis=alt.Axis(labelPadding=10, **above))
    )
    scale, axis = alt.Scale(nice=True), alt.Axis(format="+.1%", tickCount=4)
    colour = alt.Color("look:N", scale=alt.Scale(domain=["real", "open"], range=[BLUE, GREY]), legend=None)
    tooltip = [
        alt.Tooltip("outcome:N", title="Outcome"),
        *(alt.Tooltip(f"{name}:Q", title=word, format="+.2%") for name, word in _WORDS.items()),
    ]
    zero = base.mark_rule(color=GREY, strokeDash=[5, 4]).encode(x=alt.X("zero:Q", title=title, scale=scale, axis=axis))
    interval = base.mark_rule(color=GREY, strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q")
    dot = base.mark_circle(size=110, opacity=1).encode(x=alt.X("value:Q", title=title), color=colour, tooltip=tooltip)
    return Drawing(specification(alt.layer(zero, interval, dot), MARGIN + BAR * len(data)), {ROWS: table})


_WORDS = {
    "value": "Difference",
    "low": "95 % interval, lower end",
    "high": "95 % interval, upper end",
}
