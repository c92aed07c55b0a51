"""The map of a job: its items in the background, its prototypes by mass, and the way that they came.

One unit is as long to the right as it is upwards: distances on the map are read, and a stretched one tells wrong ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import ZOOM, Drawing, rows, specification, title_above
from dashboard.charts.map_labels import Disc, placed
from dashboard.charts.palette import GREY, INK, PAPER, colours
from dashboard.charts.prototypes import name
from fedmem.contracts import ItemMap, Prototype, PrototypeRound

MAP_HEIGHT = 540
AXES = 80  # of the height, for the axis below and the title above
MAP_WIDTH = 410  # of the plot in a window 1,280 wide; where there is more, labels have more room
AREAS = (60, 3200)  # of a disc, in square pixels, for none of the mass and for all of it
NARROW = 400  # a map of fewer pixels has no room around the discs: their numbers stand upon them
NARROW_WIDTH = 280  # of the plot in a window 390 wide
NUMBER = (22, 14)  # pixels of a number, across and down
MARGIN = 1.1
X_TITLE, Y_TITLE = "First principal component (no unit)", "Second principal component (no unit)"
COLUMNS = ("x", "y", "prototype", "round", "mass", "label", "titles")


@dataclass(frozen=True)
class Frame:
    """What of the plane has to be seen: its middle, and how far it reaches."""

    x: float
    y: float
    wide: float
    high: float

    @classmethod
    def around(cls, items: ItemMap) -> "Frame":
        """Frame all items; prototypes are means of items, so they lie within as well."""
        xs, ys = [item.point.x for item in items.items] or [0.0], [item.point.y for item in items.items] or [0.0]
        wide, high = max(xs) - min(xs) or 1.0, max(ys) - min(ys) or 1.0
        return cls((max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2, MARGIN * wide, MARGIN * high)

    def scale(self, axis: str) -> alt.Scale:
        """Fit the domain of an axis to the size of the chart: as much of the plane as there is room for."""
        middle, pixels = {"x": (self.x, "width"), "y": (self.y, "height")}[axis]
        half = f"max({self.wide:.4g} / width, {self.high:.4g} / height) * {pixels} / 2"
        ends = [alt.ExprRef(f"{middle:.4g} {sign} {half}") for sign in "-+"]
        return alt.Scale(zero=False, nice=False, domainMin=ends[0], domainMax=ends[1])

    def pixel(self) -> float:
        """Say how much of the plane a pixel is, but in a narrow window."""
        return max(self.high / (MAP_HEIGHT - AXES), self.wide / MAP_WIDTH)


def map_chart(
    items: ItemMap, rounds: Sequence[PrototypeRound], shown: PrototypeRound, chosen: int | None = None
) -> Drawing:
    """Draw the prototypes of a round among the items; the chosen one has a ring."""
    background = [[item.point.x, item.point.y, item.title] for item in items.items]
    path = [_row(p, each) for each in rounds if each.round <= shown.round for p in each.prototypes if p.nearest]
    frame, there = Frame.around(items), [p for p in shown.prototypes if p.nearest]
    now = pd.DataFrame([_row(p, shown) for p in there], columns=list(COLUMNS))
    labels = pd.DataFrame(_labels(there, frame), columns=["label", "align", "dx", "dy"])
    numbers = _numbers(there, max(frame.high / (MAP_HEIGHT - AXES), frame.wide / NARROW_WIDTH))
    datasets = {
        "items": pd.DataFrame(background, columns=["x", "y", "title"]),
        "path": pd.DataFrame(path, columns=list(COLUMNS)),
        "now": now.assign(**labels, number=numbers, ring=[p.index == chosen for p in there]),
    }
    return Drawing(_map(max((len(each.prototypes) for each in rounds), default=0), frame), datasets)


def _row(prototype: Prototype, at: PrototypeRound) -> list[object]:
    titles = [item.title for item in prototype.nearest]
    place, called = prototype.point, name(prototype.index)
    return [place.x, place.y, called, at.round, 100 * prototype.mass, called, ", ".join(titles[:5])]


def _labels(prototypes: Sequence[Prototype], frame: Frame) -> list[tuple[str, str, float, float]]:
    """Place each prototype's number and nearest title, where they touch neither each other nor a disc."""
    pixel = frame.pixel()
    discs = [
        Disc(name(p.index), p.nearest[0].title, (p.point.x - frame.x) / pixel, (frame.y - p.point.y) / pixel, _area(p))
        for p in prototypes
    ]
    return placed(discs, frame.wide / pixel / 2, frame.high / pixel / 2)


def _numbers(prototypes: Sequence[Prototype], pixel: float) -> list[str]:
    """Number the discs of a narrow map; where numbers would lie upon each other, that of the largest disc is drawn."""
    taken: list[tuple[float, float]] = []
    found = [""] * len(prototypes)
    for place in sorted(range(len(prototypes)), key=lambda place: -prototypes[place].mass):
        x, y = prototypes[place].point.x / pixel, prototypes[place].point.y / pixel
        if all(abs(x - there[0]) > NUMBER[0] or abs(y - there[1]) > NUMBER[1] for there in taken):
            taken.append((x, y))
            found[place] = name(prototypes[place].index)
    return found


def _area(prototype: Prototype) -> float:
    smallest, largest = AREAS
    return smallest + prototype.mass * (largest - smallest)


@cache
def _map(count: int, frame: Frame) -> dict[str, Any]:
    x = alt.X("x:Q", title=X_TITLE, axis=alt.Axis(grid=False, tickCount=5), scale=frame.scale("x"))
    y = alt.Y("y:Q", title=Y_TITLE, axis=alt.Axis(grid=False, tickCount=5, **title_above()), scale=frame.scale("y"))
    scale = alt.Scale(domain=[name(k) for k in range(count)], range=colours(count))
    colour = alt.Color("prototype:N", scale=scale, legend=None)
    items = alt.Chart(rows("items")).encode(x=x, y=y, tooltip=alt.Tooltip("title:N", title="Item"))
    path = alt.Chart(rows("path")).mark_line(clip=True).encode(x=x, y=y, order="round:Q", detail="prototype:N")
    now = alt.Chart(rows("now")).encode(x=x, y=y)
    layers = [
        items.mark_circle(color=GREY, size=16, opacity=0.35, clip=True),
        path.mark_line(strokeWidth=_by_width("0", "5"), color=PAPER, clip=True),
        path.mark_line(strokeWidth=2, clip=True).encode(color=colour),
        _discs(now, colour),  # upon the way that they came: a piece of it inside a disc would look like a sign
        *_words(now),
    ]
    zoom = alt.selection_interval(name=ZOOM, bind="scales", zoom="wheel![event.shiftKey]", clear="dblclick")
    return specification(alt.layer(*layers).add_params(zoom), MAP_HEIGHT)


def _discs(now: alt.Chart, colour: alt.Color) -> Any:
    size = alt.Size("mass:Q", scale=alt.Scale(domain=[0, 100], range=list(AREAS)), legend=None)
    tooltip = [
        alt.Tooltip("prototype:N", title="Prototype"),
        alt.Tooltip("mass:Q", title="Mass (%)", format=".1f"),
        alt.Tooltip("titles:N", title="Nearest"),
        alt.Tooltip("round:Q", title="Round"),
    ]
    ring = alt.ExprRef(f"datum.ring ? '{INK}' : '{PAPER}'")
    disc = now.mark_circle(opacity=0.9, stroke=ring, strokeWidth=2, clip=True)
    return disc.encode(color=colour, size=size, tooltip=tooltip)


def _words(now: alt.Chart) -> list[Any]:
    """Draw the labels, each on a halo, because it lies on items; in a narrow window, upon its disc."""
    narrow = {"text": "datum.number", "align": "'center'", "dx": "0", "dy": "0"}
    usual = {"text": "datum.label", "align": "datum.align", "dx": "datum.dx", "dy": "datum.dy"}
    style: Any = {name: _by_width(narrow[name], usual[name]) for name in usual}
    style |= {"fontSize": _by_width("12", "14"), "fontWeight": 600, "baseline": "middle"}
    halo = now.mark_text(color=PAPER, stroke=PAPER, strokeJoin="round", strokeWidth=_by_width("0", "4"), **style)
    return [halo, now.mark_text(color=_by_width(f"'{PAPER}'", f"'{INK}'"), **style)]


def _by_width(narrow: str, usual: str) -> alt.ExprRef:
    return alt.ExprRef(f"width < {NARROW} ? {narrow} : {usual}")
