"""A distribution over rounds: its middle, the middle half and nearly all of it, with levels to compare with."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import (
    HEIGHT,
    ROWS,
    Drawing,
    round_axis,
    rows,
    specification,
    value_axis,
    zoom_by_round,
)
from dashboard.charts.palette import BLUE, INK, VERMILLION
from fedmem.contracts import RoundMetrics

NAMES = ("p05", "p25", "p50", "p75", "p95")


def quantile_chart(
    rounds: Sequence[RoundMetrics], name: str, y_title: str, levels: Sequence[tuple[str, float]]
) -> Drawing:
    """Draw bands between the 5th and 95th and the 25th and 75th per cent, the median as a line, and levels by name."""
    table = [{"round": each.round, **_quantiles(each.metrics.get("train", {}), name)} for each in rounds]
    complete = [row for row in table if len(row) > 1]
    drawn = pd.DataFrame(complete, columns=["round", *NAMES]).astype(
        {"round": "int64", **dict.fromkeys(NAMES, "float64")}
    )
    drawn["alone"] = len(drawn) == 1  # a first round has neither a line nor bands that would be seen
    marks = pd.DataFrame(levels, columns=["label", "level"]).astype({"level": "float64"})
    return Drawing(_specification(y_title, bool(levels)), {ROWS: drawn, "levels": marks})


def _quantiles(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    found = {quantile: metrics.get(f"{name}_{quantile}") for quantile in NAMES}
    return {quantile: value for quantile, value in found.items() if value is not None}


@cache
def _specification(y_title: str, with_levels: bool) -> dict[str, Any]:
    base = alt.Chart(rows()).encode(x=round_axis())
    middle = value_axis("p50", y_title, zero=True)
    only: Any = {"clip": True, "stroke": BLUE, "strokeWidth": alt.ExprRef("datum.alone ? 8 : 0")}
    seen = alt.ExprRef("datum.alone ? 1 : 0")
    layers: list[Any] = [
        base.mark_area(color=BLUE, opacity=0.22, **only).encode(y=value_axis("p05", y_title, zero=True), y2="p95:Q"),
        base.mark_area(color=BLUE, opacity=0.33, **only).encode(y=value_axis("p25", y_title, zero=True), y2="p75:Q"),
        base.mark_line(color=BLUE, strokeWidth=2, clip=True).encode(y=middle),
    ]
    if with_levels:
        layers.append(_levels(y_title))
    layers.append(base.mark_circle(size=150, opacity=seen, color=BLUE, clip=True).encode(y=middle, tooltip=_tooltip()))
    return specification(alt.layer(*layers).add_params(zoom_by_round()), HEIGHT)


def _tooltip() -> list[alt.Tooltip]:
    words = {"p95": "95 % below", "p75": "75 % below", "p50": "Median", "p25": "25 % below", "p05": "5 % below"}
    found = [alt.Tooltip(f"{name}:Q", title=word, format=".3~f") for name, word in words.items()]
    return [alt.Tooltip("round:Q", title="Round"), *found]


def _levels(y_title: str) -> Any:
    level = alt.Chart(rows("levels")).encode(y=value_axis("level", y_title, zero=True))
    rule = level.mark_rule(color=VERMILLION, strokeDash=[5, 4], strokeWidth=1.5)
    label = level.mark_text(color=INK, align="right", dx=-4, dy=-8, fontSize=11)
    return alt.layer(rule, label.encode(text="label:N", x=alt.value("width")))
