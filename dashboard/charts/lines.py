"""Lines over rounds: the chart that most of a training job is shown by.

Rows: round, value, low, high, series, kind. A `line` may have a band (low, high); a `dot` is a value of one round, that
no line joins with others; `best` marks a point; a `reference` is a level that holds for all rounds, and so is `upper`,
which lines come near, so that its name is at their beginning; an `edge` is the name of a level that is beyond what is
drawn; `room` is not seen. A `thin` line is one that stands back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import altair as alt
import pandas as pd

from dashboard.charts.drawing import (
    HEIGHT,
    ROWS,
    SHOWN,
    Drawing,
    legend,
    round_axis,
    rows,
    specification,
    value_axis,
    zoom_by_round,
)
from dashboard.charts.palette import GREY, PAPER, SERIES, colours

Kind = Literal["line", "dot", "best", "reference", "upper", "edge", "room", "thin"]
ROOM, ROOM_FOR_NAME = 0.04, 0.14  # of the height
BESIDE_PLOT = 14  # pixels to the right of a plot, which its legend may use
LETTER, STROKE = 6.2, 26.0  # pixels of a name in a legend, and of what stands before it
DASHES = ([1, 0], [6, 3], [2, 2])
BESIDE = ([6, 6], [2, 4])  # wide gaps, for what is beneath


class Row(NamedTuple):
    """One row of the data; there may be thousands with every poll, and these are the quickest to make."""

    round: int
    value: float
    series: str
    kind: Kind = "line"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Style:
    """What a chart of lines is, whatever its rows are.

    Attributes:
        y_title: what is measured, with its unit in brackets.
        series: all that may occur, in the order of the legend.
        palette: their colours, if not the usual ones.
        y_format: d3's format of the values, if not the usual one.
        zero: whether the value axis starts at zero.
        bands: whether lines may have bands.
        best: whether points may be marked.
        reference: where the name of a level stands, if there may be one.
        stacked: whether the series are parts of a sum, drawn as areas.
        thin: whether a series may be a thin line.
        beside: whether the first series is what the others stand beside: they are dashed, so that one that lies upon it
            lets it be seen.
        dots: whether there may be values that no line joins.
    """

    y_title: str
    series: tuple[str, ...]
    palette: tuple[str, ...] = ()
    y_format: str | None = None
    zero: bool = False
    bands: bool = False
    best: bool = False
    reference: Literal["above", "below"] | None = None
    stacked: bool = False
    beside: bool = False
    thin: bool = False
    dots: bool = False


def lines(data: Iterable[Row], style: Style) -> Drawing:
    """Draw series over rounds as lines; the specification depends on the style and not on the rows."""
    given = list(data)
    rooms = [] if style.stacked else _room(given, style)
    table = pd.DataFrame([*given, *rooms], columns=list(Row._fields))
    table = table.astype({"round": "int64", "value": "float64", "low": "float64", "high": "float64"})
    return Drawing(_specification(style), {ROWS: table})


def _room(data: Sequence[Row], style: Style) -> list[Row]:
    """Add an invisible point above all others, because a mark on the edge is cut in half."""
    if not data:
        return []
    top = max(max(row.value, row.high or row.value) for row in data)
    bottom = 0.0 if style.zero else min(row.value for row in data)
    height = (top - bottom) or abs(top) or 1.0
    names = [row.value + ROOM_FOR_NAME * height for row in data if row.kind == "upper"]
    return [Row(data[0].round, max([top + ROOM * height, *names]), style.series[0], "room")]


def plain(data: Iterable[Row], y_title: str, series: Sequence[str], **style: Any) -> Drawing:
    """Draw lines and nothing else."""
    return lines(data, Style(y_title, tuple(series), **style))


@cache
def _specification(style: Style) -> dict[str, Any]:
    many = len(style.series) > 1
    palette = style.palette or tuple(colours(len(style.series)))
    scale = alt.Scale(domain=list(style.series), range=list(palette))
    colour = alt.Color("series:N", scale=scale, legend=_legend(style) if many else None)
    y = value_axis("value", style.y_title, zero=style.zero, values_format=style.y_format)
    base = alt.Chart(rows()).encode(x=round_axis(), y=y, color=colour)
    layers = _layers(style, base, y)
    return specification(alt.layer(*layers).add_params(zoom_by_round()), HEIGHT)


def _dashes(style: Style) -> dict[str, Any]:
    """Dash the series beside the first, or those that take a colour a second time."""
    if style.beside:
        dashes = [DASHES[0], *(BESIDE[number % len(BESIDE)] for number in range(len(style.series) - 1))]
    else:
        dashes = [DASHES[number // len(SERIES) % len(DASHES)] for number in range(len(style.series))]
    if all(dash == DASHES[0] for dash in dashes):
        return {}
    scale = alt.Scale(domain=list(style.series), range=dashes)
    return {"strokeDash": alt.StrokeDash("series:N", scale=scale, legend=_legend(style))}


def _legend(style: Style) -> alt.Legend:
    """Set as many names beside each other as the chart has room for, which the browser knows."""
    widest = STROKE + LETTER * max(map(len, style.series))
    most = 2 if len(style.series) in (4, 6) else 3
    columns = alt.ExprRef(f"max(1, min({most}, floor((width + {BESIDE_PLOT}) / {widest:.0f})))")
    return legend("square" if style.stacked else "stroke", columns)


def _layers(style: Style, base: alt.Chart, y: alt.Y) -> list[Any]:
    tooltip = _tooltip(style)
    if style.stacked:
        only_areas = base.transform_filter("datum.kind === 'line'")
        return [only_areas.mark_area(clip=True).encode(y=y.stack("zero"), tooltip=tooltip)]
    bands, base = base, base.encode(**_dashes(style))  # areas have no dashes
    only_lines = _lines(style, base)
    layers: list[Any] = [only_lines.mark_line(strokeWidth=2, clip=True)]
    if style.bands:
        banded = bands.transform_filter("datum.kind === 'line' && isValid(datum.low)")
        low = value_axis("low", style.y_title, zero=style.zero, values_format=style.y_format)
        layers.insert(0, banded.mark_area(opacity=0.15, clip=True).encode(y=low, y2="high:Q"))
    if style.dots:
        dot = alt.ExprRef("datum.kind === 'dot' ? 22 : 0")
        layers.append(only_lines.mark_circle(size=dot, opacity=1, clip=True))
    if style.thin:
        layers.append(base.transform_filter("datum.kind === 'thin'").mark_line(strokeWidth=1, clip=True))
    layers.append(base.transform_filter("datum.kind === 'room'").mark_point(opacity=0))
    if style.reference:
        layers.append(_reference(style, y, tooltip))
    # Wide and invisible, so that a value is found near its line.
    layers.append(only_lines.mark_circle(size=150, opacity=0, clip=True).encode(tooltip=tooltip))
    if style.best:
        marked = base.transform_filter("datum.kind === 'best'")
        point = marked.mark_point(shape="diamond", size=120, filled=True, stroke="white", opacity=1, clip=True)
        layers.append(point.encode(tooltip=tooltip))
    return layers


def _lines(style: Style, base: alt.Chart) -> alt.Chart:
    """Take the rows that are values; each dot is a line of its own, for a layer without rows has no scale."""
    if not style.dots:
        return base.transform_filter("datum.kind === 'line'")
    values = base.transform_filter(alt.FieldOneOfPredicate("kind", list(SHOWN)))
    return values.transform_calculate(part="datum.kind === 'dot' ? datum.round : ''").encode(detail="part:N")


def _tooltip(style: Style) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("series:N", title="Series"),
        alt.Tooltip("round:Q", title="Round"),
        alt.Tooltip("value:Q", title=style.y_title, format=style.y_format or ",.4~r"),
    ]


def _reference(style: Style, y: alt.Y, tooltip: list[alt.Tooltip]) -> Any:
    """Draw levels with their names, at the right or, of an upper one, at the left; of an edge the name alone.

    Names are on a halo, for a line may cross them. Each layer has rows: the scale of values takes none without.
    """
    base = alt.Chart(rows()).encode(y=y)
    level = base.transform_filter(alt.FieldOneOfPredicate("kind", ["reference", "upper", "edge"]))
    seen = alt.ExprRef("datum.kind === 'edge' ? 0 : 1")
    rule = level.mark_rule(strokeDash=[5, 4], color=GREY, strokeWidth=1.5, strokeOpacity=seen)
    place = -8 if style.reference == "above" else 10
    look: Any = {
        "x": _by_kind("0", "width"),
        "align": _by_kind("'left'", "'right'"),
        "dx": _by_kind("4", "-4"),
        "dy": alt.ExprRef(f"datum.kind === 'edge' ? 0 : datum.kind === 'upper' ? -8 : {place}"),
        "fontSize": 11,
    }
    named = level.encode(text="series:N")
    halo = named.mark_text(color=PAPER, stroke=PAPER, strokeJoin="round", strokeWidth=4, **look)
    return alt.layer(rule.encode(tooltip=[tooltip[0], tooltip[2]]), halo, named.mark_text(color=GREY, **look))


def _by_kind(upper: str, others: str) -> alt.ExprRef:
    return alt.ExprRef(f"datum.kind === 'upper' ? {upper} : {others}")
