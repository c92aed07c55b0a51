"""Recommendations as a list: cover, title, genres, score, its parts, and the item's rank elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard.charts.palette import on_page
from dashboard.charts.recommend import PART_COLOURS, because_of, parts_of
from dashboard.components.covers import Card, Part, cover_grid
from dashboard.words import item_kind
from fedmem.contracts import RecommendationResponse, RecommendedItem


def answer_list(answer: RecommendationResponse, dataset: str, beside: RecommendationResponse | None = None) -> None:
    """Show the items, best first; with another answer beside it, how each one moved from there."""
    bars = _Bars.of(answer)
    places = {} if beside is None else _places(beside)
    cards = [
        Card(
            item.item_id,
            item.title,
            meta=item_kind(item.title, item.genres, item.year),
            badge=f"{item.score:.2f}",
            rank=place,
            moved="" if beside is None else _moved(place, places.get(item.item_id)),
            parts=bars.parts(item),
            because=_because(because_of(item)),
        )
        for place, item in enumerate(answer.items, 1)
    ]
    cover_grid(cards, dataset, "list")


def in_common(one: RecommendationResponse, other: RecommendationResponse) -> int:
    """Count the items that two answers share."""
    return len(_places(one).keys() & _places(other).keys())


def parts_legend(*answers: RecommendationResponse) -> None:
    """Show the colours of the parts that occur in any of the answers."""
    there = {part for answer in answers for item in answer.items for part, value in parts_of(item).items() if value}
    named = "".join(
        f'<span><i style="background:{colour}"></i>{part}</span>'
        for part, colour in PART_COLOURS.items()
        if part in there
    )
    if named:
        st.html(
            on_page(f'<div class="fm-legend">The bars: what a score is made of.{named}</div>', st.context.theme.type)
        )


def _because(titles: Sequence[str]) -> str:
    return f"Because of {', '.join(titles)}" if titles else ""


def _places(answer: RecommendationResponse) -> Mapping[str, int]:
    return {item.item_id: place for place, item in enumerate(answer.items, 1)}


def _moved(place: int, before: int | None) -> str:
    if before is None:
        return "new"
    return "=" if before == place else f"{'▲' if place < before else '▼'} {abs(before - place)}"


@dataclass(frozen=True)
class _Bars:
    """The scale that all bars of an answer have in common: how far they reach below zero and above it."""

    below: float
    above: float

    @classmethod
    def of(cls, answer: RecommendationResponse) -> "_Bars":
        values = [list(parts_of(item).values()) for item in answer.items]
        return cls(
            max(map(_below, values), default=0.0), max((sum(each) + _below(each) for each in values), default=0.0)
        )

    def parts(self, item: RecommendedItem) -> tuple[Part, ...]:
        """List what lowers the score, up to zero, and then what raises it."""
        named = parts_of(item)
        percent = 100 / ((self.below + self.above) or 1.0)
        room = self.below - _below(named.values())
        shown = sorted(named.items(), key=lambda part: part[1] >= 0)
        bars = [Part(PART_COLOURS[part], percent * value, f"{part}: {value:+.2f}") for part, value in shown if value]
        return (Part("transparent", percent * room, ""), *bars) if bars else ()


def _below(values: Iterable[float]) -> float:
    return -sum(value for value in values if value < 0)
