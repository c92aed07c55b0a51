"""A distribution over rounds: its middle, the middle half and nearly all of it, with levels to compare with."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import HEIGHT, ROUND_TITLE, ROWS, Drawing, rows, specification, zoom_by_round
from dashboard.charts.palette import BLUE, VERMILLION
from fedmem.contracts import RoundMetrics

NAMES = ("p05", "p25", "p50", "p75", "p95")


def quantile_chart(
    rounds: Sequence[RoundMetrics], name: str, y_title: str, levels: Sequence[tuple[str, float]]
) -> Drawing:
    """Bands between the 5th and 95th and the 25th and 75th per cent, the median as a line, and levels by name."""
    table = [{"round": each.round, **_quantiles(each.metrics.get("train", {}), name)} for each in rounds]
    complete = [row for row in table if len(row) > 1]
    drawn = pd.DataFrame(complete, columns=["round", *NAMES]).astype(
        {"round": "int64", **dict.fromkeys(NAMES, "float64")}
    )
    marks = pd.DataFrame(levels, columns=["label", "level"]).astype({"level": "float64"})
    return Drawing(_specification(y_title, bool(levels)), {ROWS: drawn, "levels": marks})


def _quantiles(metrics: Mapping[str, float], name: str) -> dict[str, float]:
    found = {quantile: metrics.get(f"{name}_{quantile}") for quantile in NAMES}
    return {quantile: value for quantile, value in found.items() if value is not None}


@cache
def _specification(y_title: str, with_levels: bool) -> dict[str, Any]:
    x = alt.X(
        "round:Q", title=ROUND_TITLE, axis=alt.Axis(format="d", tickMinStep=1, grid=False), scale=alt.Scale(nice=False)
    )
    tooltip = [
        alt.Tooltip("round:Q", title="Round"),
        alt.Tooltip("p95:Q", title="95 % below", format=".3~f"),
        alt.Tooltip("p75:Q", title="75 % below", format=".3~f"),
        alt.Tooltip("p50:Q", title="Median", format=".3~f"),
        alt.Tooltip("p25:Q", title="25 % below", format=".3~f"),
        alt.Tooltip("p05:Q", title="5 % below", format=".3~f"),
    ]
    base = alt.Chart(rows()).encode(x=x)
    y = alt.Y("p50:Q", title=y_title)
    layers: list[Any] = [
        base.mark_area(color=BLUE, opacity=0.15).encode(y=alt.Y("p05:Q", title=y_title), y2="p95:Q"),
        base.mark_area(color=BLUE, opacity=0.25).encode(y=alt.Y("p25:Q", title=y_title), y2="p75:Q"),
        base.mark_line(color=BLUE, strokeWidth=2).encode(y=y),
    ]
    if with_levels:
        level = alt.Chart(rows("levels")).encode(y=alt.Y("level:Q", title=y_title))
        layers.append(level.mark_rule(color=VERMILLION, strokeDash=[5, 4], strokeWidth=1.5))
        layers.append(
            level.mark_text(color=VERMILLION, align="right", dx=-4, dy=-7, fontSize=11).encode(
                text="label:N", x=alt.value("width")
            )
        )
    layers.append(base.mark_circle(size=150, opacity=0).encode(y=y, tooltip=tooltip))
    return specification(alt.layer(*layers).add_params(zoom_by_round()), HEIGHT)
