"""The Recommend page's charts: a score's parts, and what was read from memory."""

from functools import cache
from typing import Any

import altair as alt
import pandas as pd

from dashboard.charts.drawing import ROWS, Drawing, legend, rows, specification
from dashboard.charts.palette import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION
from fedmem.contracts import Explanation, RecommendationResponse, RecommendedItem
from fedmem.modality import Modality

EXPERTS = {modality.value: modality.label for modality in Modality}
PARTS = {
    "sequence": "Sequence model",
    **{name: f"Memory by {label.lower()}" for name, label in EXPERTS.items()},
    "availability": "Which features it has",
    "popularity": "Popularity",
    "remembered": "What others took next",
}
EXPERT_COLOURS = (SKY, GREEN, PURPLE, ORANGE)[: len(EXPERTS)]
PART_COLOURS = dict(zip(PARTS.values(), (BLUE, *EXPERT_COLOURS, GREY, INK, VERMILLION), strict=True))
REASONS = 2  # titles of a card
_TITLE: Any = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": 0, "titleY": -10}
BAR, THICK, MARGIN = 34, 10, 140
READ = 10


def parts_of(item: RecommendedItem) -> dict[str, float]:
    """Split a score into its parts by name; empty where the answer has no explanation."""
    if item.explanation is None:
        return {}
    return {PARTS[part]: value for part, value in item.explanation.summands().items()}


def because_of(item: RecommendedItem) -> tuple[str, ...]:
    """Name the items of the history that others went on from to this one, the strongest first; few of them."""
    remembered = () if item.explanation is None else item.explanation.remembered
    return tuple(part.title for part in remembered[:REASONS])


def parts_chart(answer: RecommendationResponse) -> Drawing:
    """Draw each score as the sum of its parts, one bar per item, in the answer's order."""
    data = [
        [f"{place}. {item.title}", place, part, value, item.score]
        for place, item in enumerate(answer.items, 1)
        for part, value in parts_of(item).items()
    ]
    table = pd.DataFrame(data, columns=["item", "place", "part", "value", "score"])
    there = set(table.part[table.value != 0])
    present = {name: colour for name, colour in PART_COLOURS.items() if name in there}
    bars = _bars("Score (logits)", "part", tuple(present), tuple(present.values()), len(answer.items))
    return Drawing(bars, {ROWS: table})


def read_chart(explanation: Explanation) -> Drawing:
    """Draw the entries that were read most, by expert."""
    shown = [
        {expert: 100 * weight * explanation.gates.get(expert, 1.0) for expert, weight in entry.weights.items()}
        for entry in explanation.memory
    ]
    most = sorted(range(len(shown)), key=lambda number: -sum(shown[number].values()))[:READ]
    data = [
        [f"{place}. {_entry_title(explanation.memory[n].kind, explanation.memory[n].title)}", place, EXPERTS[e], v, 0.0]
        for place, n in enumerate(most, 1)
        for e, v in shown[n].items()
    ]
    table = pd.DataFrame(data, columns=["item", "place", "part", "value", "score"])
    count = min(READ, len(explanation.memory))
    title = "Attention (%)"
    return Drawing(_bars(title, "part", tuple(EXPERTS.values()), EXPERT_COLOURS, count), {ROWS: table})


def _entry_title(kind: str, title: str) -> str:
    return f"Others' taste: {title}" if kind == "prototype" else title


@cache
def _bars(x_title: str, field: str, series: tuple[str, ...], palette: tuple[str, ...], count: int) -> dict[str, Any]:
    """Draw bars under the titles of their items: beside them, a narrow window would have no room left for the bars."""
    y = alt.Y("place:O", title="Item (title)", axis=alt.Axis(labels=False, ticks=False, domain=False, **_TITLE))
    colour = alt.Color(
        f"{field}:N", scale=alt.Scale(domain=list(series), range=list(palette)), legend=legend("square", columns=2)
    )
    tooltip = [
        alt.Tooltip("item:N", title="Item"),
        alt.Tooltip(f"{field}:N", title="Part"),
        alt.Tooltip("sum(value):Q", title=x_title, format=".3~f"),
    ]
    base = alt.Chart(rows()).encode(y=y)
    x = alt.X("sum(value):Q", title=x_title, axis=alt.Axis(tickCount=5))
    bars = base.mark_bar(size=THICK, yOffset=THICK / 2).encode(x=x, color=colour, tooltip=tooltip)
    names = base.transform_aggregate(groupby=["item", "place"])
    titles = names.mark_text(align="left", dy=-THICK, color=INK, limit=alt.ExprRef("width"))
    return specification(alt.layer(bars, titles.encode(text="item:N", x=alt.value(0))), MARGIN + BAR * count)
