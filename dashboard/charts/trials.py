"""The chart of a search for settings: what each trial reached on validation, and the best so far."""

from functools import cache
from itertools import accumulate
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import HEIGHT, ROWS, Drawing, legend, rows, specification, value_axis
from dashboard.charts.palette import BLUE, GREY, VERMILLION
from dashboard.words import ranking_title
from fedmem.contracts import Tuning

COMPLETE, PRUNED, SO_FAR = "to its end", "pruned", "best so far"
COLUMNS = ["trial", "value", "part", "state", "name"]


def trials_chart(tuning: Tuning) -> Drawing:
    """Draw trials as dots, hollow where they were pruned, the best so far as a line, the strongest baseline dashed."""
    tried = [trial for trial in tuning.trials if trial.value is not None]
    dots = [[t.number, t.value, "dot", COMPLETE if t.state == "complete" else PRUNED, None] for t in tried]
    whole = [trial for trial in tried if trial.state == "complete"]
    best = accumulate((trial.value or 0.0 for trial in whole), max)
    steps = [[trial.number, value, "best", SO_FAR, None] for trial, value in zip(whole, best, strict=True)]
    if steps:  # up to the newest trial
        steps.append([tried[-1].number, *steps[-1][1:]])
    levels = []
    if tuning.baselines:
        name, value = max(tuning.baselines.items(), key=lambda one: one[1])
        levels = [[tuning.trials[0].number if tuning.trials else 0, value, "level", None, name]]
    table = pd.DataFrame([*dots, *steps, *levels], columns=COLUMNS)
    return Drawing(_specification(f"Validation: {ranking_title(tuning.metric)}", bool(levels)), {ROWS: table})


@cache
def _specification(y_title: str, level: bool) -> dict[str, Any]:
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=8, grid=False)
    x = alt.X("trial:Q", title="Trial (number)", axis=axis, scale=alt.Scale(nice=False, padding=12))
    y = value_axis("value", y_title)
    scale = alt.Scale(domain=[COMPLETE, PRUNED, SO_FAR], range=[BLUE, GREY, VERMILLION])
    colour = alt.Color("state:N", scale=scale, legend=legend("circle"))
    tooltip = [
        alt.Tooltip("trial:Q", title="Trial"),
        alt.Tooltip("value:Q", title=y_title, format=".4f"),
        alt.Tooltip("state:N", title="It went"),
    ]
    base = alt.Chart(rows()).encode(x=x, y=y)
    best = base.transform_filter("datum.part === 'best'").mark_line(interpolate="step-after", strokeWidth=2)
    dots = base.transform_filter("datum.part === 'dot'").mark_circle(size=90, opacity=1)
    layers: list[Any] = [best.encode(color=colour), dots.encode(color=colour, tooltip=tooltip)]
    if level:
        given = alt.Chart(rows()).transform_filter("datum.part === 'level'").encode(y=y)
        layers.append(given.mark_rule(color=GREY, strokeDash=[5, 4], strokeWidth=1.5))
        name = given.encode(x=alt.value("width"), text="name:N")
        layers.append(name.mark_text(align="right", dx=-4, dy=-8, color=GREY, fontSize=11))
    return specification(alt.layer(*layers), HEIGHT)
