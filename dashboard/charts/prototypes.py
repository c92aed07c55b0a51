"""The Prototypes page's charts: the map of the job, and mass, drift and collapse by round."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import ZOOM, Drawing, rows, specification, title_above
from dashboard.charts.lines import Row, Style, lines, plain
from dashboard.charts.palette import GREY, INK, colours
from fedmem.contracts import ItemMap, Prototype, PrototypeRound

ALARM = 0.9  # centroids that collapsed onto one vector were seen at .95 to .99
MAP_HEIGHT = 520
X_TITLE, Y_TITLE = "First principal component (no unit)", "Second principal component (no unit)"


def name(index: int) -> str:
    """How a prototype is called."""
    return f"P{index + 1}"


def map_chart(items: ItemMap, rounds: Sequence[PrototypeRound], shown: PrototypeRound) -> Drawing:
    """Items in the background, prototypes by mass, and the way that they came."""
    background = [[item.point.x, item.point.y, item.title] for item in items.items]
    path = [_place(p, each) for each in rounds if each.round <= shown.round for p in each.prototypes if p.nearest]
    now = [_place(p, shown) for p in shown.prototypes if p.nearest]
    columns = ["x", "y", "prototype", "round", "mass", "label", "titles"]
    count = max((len(each.prototypes) for each in rounds), default=0)
    datasets = {
        "items": pd.DataFrame(background, columns=["x", "y", "title"]),
        "path": pd.DataFrame(path, columns=columns),
        "now": pd.DataFrame(now, columns=columns),
    }
    return Drawing(_map(count), datasets)


def _place(prototype: Prototype, at: PrototypeRound) -> list[object]:
    titles = [item.title for item in prototype.nearest]
    label = f"{name(prototype.index)} {titles[0]}"
    return [
        prototype.point.x,
        prototype.point.y,
        name(prototype.index),
        at.round,
        100 * prototype.mass,
        label,
        ", ".join(titles[:5]),
    ]


@cache
def _map(count: int) -> dict[str, Any]:
    x = alt.X("x:Q", title=X_TITLE, axis=alt.Axis(grid=False, tickCount=5), scale=alt.Scale(zero=False, padding=24))
    y = alt.Y("y:Q", title=Y_TITLE, axis=alt.Axis(grid=False, tickCount=5, **title_above()), scale=_loose())
    scale = alt.Scale(domain=[name(k) for k in range(count)], range=colours(count))
    colour = alt.Color("prototype:N", scale=scale, legend=None)
    tooltip = [
        alt.Tooltip("prototype:N", title="Prototype"),
        alt.Tooltip("mass:Q", title="Mass (%)", format=".1f"),
        alt.Tooltip("titles:N", title="Nearest"),
        alt.Tooltip("round:Q", title="Round"),
    ]
    now = alt.Chart(rows("now")).encode(x=x, y=y)
    size = alt.Size("mass:Q", scale=alt.Scale(domain=[0, 100], range=[60, 3200]), legend=None)
    layers = [
        alt.Chart(rows("items"))
        .mark_circle(color=GREY, size=16, opacity=0.35)
        .encode(x=x, y=y, tooltip=alt.Tooltip("title:N", title="Item")),
        alt.Chart(rows("path"))
        .mark_line(strokeWidth=1.5, opacity=0.75)
        .encode(x=x, y=y, color=colour, order="round:Q"),
        now.mark_circle(opacity=0.85, stroke="white", strokeWidth=1).encode(color=colour, size=size, tooltip=tooltip),
        now.mark_text(dy=-24, fontSize=12, fontWeight=600, limit=240, color=INK).encode(text="label:N"),
    ]
    zoom = alt.selection_interval(name=ZOOM, bind="scales", zoom="wheel![event.shiftKey]", clear="dblclick")
    return specification(alt.layer(*layers).add_params(zoom), MAP_HEIGHT)


def _loose() -> alt.Scale:
    return alt.Scale(zero=False, padding=30)


def mass_chart(rounds: Sequence[PrototypeRound]) -> Drawing:
    """Each prototype's share of what the clients remember."""
    data = [Row(each.round, 100 * p.mass, name(p.index)) for each in rounds for p in each.prototypes]
    return plain(data, "Share of the mass (%)", _names(rounds), zero=True)


def drift_chart(rounds: Sequence[PrototypeRound]) -> Drawing:
    """How far each prototype moved since the evaluation before."""
    moved = ((each.round, p) for each in rounds for p in each.prototypes)
    data = [Row(number, p.drift, name(p.index)) for number, p in moved if p.drift is not None]
    return plain(data, "Drift since the last one (1 − cosine)", _names(rounds), zero=True)


def collapse_chart(rounds: Sequence[PrototypeRound]) -> Drawing:
    """How alike the prototypes are, and from where on that is alarming."""
    data = [Row(each.round, each.collapse, "Collapse") for each in rounds if each.collapse is not None]
    data.append(Row(0, ALARM, f"alarm at {ALARM}", "reference"))
    return lines(data, Style("Mean cosine between prototypes (−1 to 1)", ("Collapse",), zero=True, reference="below"))


def _names(rounds: Sequence[PrototypeRound]) -> list[str]:
    return [name(k) for k in range(max((len(each.prototypes) for each in rounds), default=0))]
