"""Lines over rounds: the chart that most of a training job is shown by.

Rows: round, value, low, high, series, kind. A `line` may have a band (low, high); a `dot` is a value of one round, that
no line joins with others; `alone` is the only value of its line, which would not be seen; `best` marks a point; a
`reference` is a level that holds for all rounds, and is drawn as the place of its name, such as `left above`; an `edge`
is the name of a level that is beyond what is drawn; `room` is not seen. A `thin` line is one that stands back.
"""

import json
from collections import Counter
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
    bytes_named,
    legend,
    round_axis,
    rows,
    specification,
    value_axis,
    zoom_by_round,
)
from dashboard.charts.level_names import PLACES, Place, Point, places
from dashboard.charts.palette import GREY, PAPER, SERIES, colours

Kind = Literal["line", "dot", "alone", "best", "reference", "bottom edge", "top edge", "room", "thin"] | Place
CURVES = (*SHOWN, "thin", "best")
ROOM, ROOM_FOR_NAME = 0.04, 0.14  # of the height
BESIDE_PLOT = 14  # pixels to the right of a plot, which its legend may use
STEP_ASIDE = 2  # pixels between steps of the same value
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
        in_bytes: whether the values are bytes, each of which is named in the unit that reads best.
        zero: whether the value axis starts at zero.
        bands: whether lines may have bands.
        best: whether points may be marked.
        reference: whether there may be levels.
        stacked: whether the series are parts of a sum, drawn as areas.
        thin: whether a series may be a thin line.
        beside: whether the first series is what the others stand beside: they are dashed, so that one that lies upon it
            lets it be seen.
        dots: whether there may be values that no line joins.
        stepped: whether a value holds until the next; lines of equal values are then drawn side by side.
    """

    y_title: str
    series: tuple[str, ...]
    palette: tuple[str, ...] = ()
    y_format: str | None = None
    in_bytes: bool = False
    zero: bool = False
    bands: bool = False
    best: bool = False
    reference: bool = False
    stacked: bool = False
    beside: bool = False
    thin: bool = False
    dots: bool = False
    stepped: bool = False


def lines(data: Iterable[Row], style: Style) -> Drawing:
    """Draw series over rounds as lines; the specification depends on the style and not on the rows."""
    given = list(data)
    more = [] if style.stacked else [*_room(given, style), *_alone(given)]
    table = pd.DataFrame([*_placed(given, style), *more], columns=list(Row._fields))
    table = table.astype({"round": "int64", "value": "float64", "low": "float64", "high": "float64"})
    return Drawing(_specification(style), {ROWS: table})


def _extent(data: Sequence[Row], style: Style) -> tuple[float, float]:
    """Give the lowest value that is drawn and the height of all, which is not zero."""
    top = max(max(row.value, row.high or row.value) for row in data)
    bottom = 0.0 if style.zero else min(row.value for row in data)
    return bottom, (top - bottom) or abs(top) or 1.0


def _room(data: Sequence[Row], style: Style) -> list[Row]:
    """Add invisible points above and below all others: a mark on the edge is cut in half, and a name needs room."""
    if not data:
        return []
    bottom, height = _extent(data, style)
    names = [row for row in _placed(data, style) if row.kind in PLACES]
    above, below = (
        [row.value + sign * ROOM_FOR_NAME * height for row in names if row.kind.endswith(side)]
        for sign, side in ((1, "above"), (-1, "below"))
    )
    top = max(max(row.value, row.high or row.value) for row in data)
    room = ROOM_FOR_NAME if style.stepped else ROOM
    ends = [max([top + room * height, *above]), *(low for low in [min([bottom, *below])] if low < bottom)]
    return [Row(data[0].round, end, style.series[0], "room") for end in ends]


def _alone(data: Sequence[Row]) -> list[Row]:
    """Mark values that are the only ones of their lines, as after a job's first round."""
    counts = Counter(row.series for row in data if row.kind == "line")
    return [row._replace(kind="alone") for row in data if row.kind == "line" and counts[row.series] == 1]


def _placed(data: Sequence[Row], style: Style) -> list[Row]:
    """Say of each level where its name stands."""
    levels = [row for row in data if row.kind == "reference"]
    if not levels:
        return list(data)
    bottom, height = _extent(data, style)
    lowest = bottom if style.zero else bottom - ROOM_FOR_NAME * height
    curves = [Point(f"{row.kind} {row.series}", row.round, row.value) for row in data if row.kind in CURVES]
    chosen = iter(places([row.value for row in levels], curves, lowest, height))
    return [row._replace(kind=next(chosen)) if row.kind == "reference" else row for row in data]


def plain(data: Iterable[Row], y_title: str, series: Sequence[str], **style: Any) -> Drawing:
    """Draw lines and nothing else."""
    return lines(data, Style(y_title, tuple(series), **style))


@cache
def _specification(style: Style) -> dict[str, Any]:
    many = len(style.series) > 1
    palette = style.palette or tuple(colours(len(style.series)))
    scale = alt.Scale(domain=list(style.series), range=list(palette))
    colour = alt.Color("series:N", scale=scale, legend=_legend(style) if many else None)
    y = value_axis("value", style.y_title, zero=style.zero, values_format=style.y_format, in_bytes=style.in_bytes)
    base = alt.Chart(rows()).encode(x=round_axis(), y=y, color=colour)
    layers = _layers(style, base, y, palette)
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


def _layers(style: Style, base: alt.Chart, y: alt.Y, palette: Sequence[str]) -> list[Any]:
    tooltip = _tooltip(style)
    if style.stacked:
        only_areas = base.transform_filter("datum.kind === 'line'")
        if style.in_bytes:
            only_areas = only_areas.transform_calculate(told=bytes_named("datum.value"))
        # The stroke shows an area of one round, which has no width.
        scale = alt.Scale(domain=list(style.series), range=list(palette))
        edge = alt.Stroke("series:N", scale=scale, legend=_legend(style))  # one with the colours
        area = only_areas.mark_area(clip=True, strokeWidth=2, strokeJoin="round")
        return [area.encode(y=y.stack("zero"), stroke=edge, tooltip=tooltip)]
    bands, base = base, base.encode(**_dashes(style))  # areas have no dashes
    only_lines = _lines(style, base)
    aside = _aside(style)
    steps: Any = "step-after" if style.stepped else alt.Undefined
    layers: list[Any] = [only_lines.mark_line(strokeWidth=2, interpolate=steps, clip=True, **aside)]
    if style.bands:
        banded = bands.transform_filter("datum.kind === 'line' && isValid(datum.low)")
        low = value_axis("low", style.y_title, zero=style.zero, values_format=style.y_format)
        layers.insert(0, banded.mark_area(opacity=0.15, clip=True).encode(y=low, y2="high:Q"))
    if style.dots:
        dot = alt.ExprRef("datum.kind === 'dot' ? 22 : 0")
        layers.append(only_lines.mark_circle(size=dot, opacity=1, clip=True))
    if style.thin:
        layers.append(base.transform_filter("datum.kind === 'thin'").mark_line(strokeWidth=1, clip=True))
    seen = alt.ExprRef("datum.kind === 'alone' ? 1 : 0")
    unjoined = base.transform_filter(alt.FieldOneOfPredicate("kind", ["room", "alone"]))
    layers.append(unjoined.mark_circle(size=45, opacity=seen, clip=True, **aside))
    if style.reference:
        layers.append(_reference(style, y, tooltip))
    # Wide and invisible, so that a value is found near its line.
    layers.append(only_lines.mark_circle(size=150, opacity=0, clip=True, **aside).encode(tooltip=tooltip))
    if style.best:
        marked = base.transform_filter("datum.kind === 'best'")
        point = marked.mark_point(shape="diamond", size=120, filled=True, stroke="white", opacity=1, clip=True)
        layers.append(point.encode(tooltip=tooltip))
    return layers


def _aside(style: Style) -> dict[str, Any]:
    """Move each series of steps upwards by its place, so that none hides another."""
    if not style.stepped:
        return {}
    return {"yOffset": alt.ExprRef(f"{-STEP_ASIDE} * indexof({json.dumps(style.series)}, datum.series)")}


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
        alt.Tooltip("told:N", title=style.y_title)
        if style.in_bytes
        else alt.Tooltip("value:Q", title=style.y_title, format=style.y_format or ",.4~r"),
    ]


def _reference(style: Style, y: alt.Y, tooltip: list[alt.Tooltip]) -> Any:
    """Draw levels with their names; of an edge the name alone.

    Names are on a halo, for a line may cross them. Each layer has rows: the scale of values takes none without.
    """
    base = alt.Chart(rows()).encode(y=y)
    level = base.transform_filter(alt.FieldOneOfPredicate("kind", [*PLACES, "bottom edge", "top edge"]))
    seen = alt.ExprRef(_if("edge", "0", "1"))
    rule = level.mark_rule(strokeDash=[5, 4], color=GREY, strokeWidth=1.5, strokeOpacity=seen)
    look: Any = {
        "x": _if("left", "0", "width"),
        "align": _if("left", "'left'", "'right'"),
        "dx": _if("left", "4", "-4"),
        "dy": _if("above", "-8", _if("below", "10", _if("bottom", "-8", "10"))),
        "fontSize": 11,
    }
    look = {name: alt.ExprRef(value) if isinstance(value, str) else value for name, value in look.items()}
    named = level.encode(text="series:N")
    halo = named.mark_text(color=PAPER, stroke=PAPER, strokeJoin="round", strokeWidth=4, **look)
    return alt.layer(rule.encode(tooltip=[tooltip[0], tooltip[2]]), halo, named.mark_text(color=GREY, **look))


def _if(place: str, then: str, otherwise: str) -> str:
    """Write an expression that depends on the place of a name."""
    return f"(indexof(datum.kind, '{place}') >= 0 ? {then} : {otherwise})"
