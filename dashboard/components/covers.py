"""Items as their covers and titles, in a grid that breaks where the window ends."""

import base64
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import streamlit as st

from dashboard.charts.palette import on_page
from dashboard.components.connection import client
from dashboard.plain_text import in_html
from dashboard.transport import BackendError

_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif"}
Layout = Literal["large", "list", "small", "strip"]


@dataclass(frozen=True)
class Part:
    """A part of a score: its colour on a light page, the length of its bar in % of the longest, and what it is."""

    colour: str
    percent: float
    words: str


@dataclass(frozen=True)
class Card:
    """What is shown of one item; all but the title may be empty.

    Attributes:
        badge: its score.
        moved: where it stands in another list, in a word.
        parts: what the score is made of.
        because: which items of the history speak for it, in a few words.
    """

    item_id: str
    title: str
    meta: str = ""
    badge: str = ""
    rank: int | None = None
    moved: str = ""
    parts: tuple[Part, ...] = ()
    because: str = ""


def cover_grid(cards: Iterable[Card], dataset: str | None, layout: Layout = "large") -> None:
    """Show the cards in their order: in a grid, one below the other, in a row of five, or in a strip that scrolls."""
    inner = "".join(_card(card, dataset) for card in cards)
    drawn = f'<div class="fm-{layout}"><div class="fm-cards">{inner}</div></div>'
    st.html(on_page(drawn, st.context.theme.type))


@st.cache_data(show_spinner=False, max_entries=4000, ttl=3600)
def cover(item_id: str, dataset: str | None) -> str | None:
    """Get the picture as a data URL: the browser need not reach the backend. A failure is not remembered."""
    picture = client().picture(item_id, dataset)
    kind = next((kind for start, kind in _SIGNATURES.items() if picture and picture.startswith(start)), None)
    return None if picture is None or kind is None else f"data:{kind};base64,{base64.b64encode(picture).decode()}"


def _card(card: Card, dataset: str | None) -> str:
    picture, title = None, in_html(card.title)
    with contextlib.suppress(BackendError):
        picture = cover(card.item_id, dataset)
    inside = f'<img src="{picture}" alt="">' if picture else _in_place(card)
    rank = "" if card.rank is None else f'<div class="fm-rank">{card.rank}</div>'
    texts = (("meta", card.meta), ("badge", card.badge), ("moved", card.moved), ("because", card.because))
    words = "".join(f'<div class="fm-{kind}">{in_html(text)}</div>' for kind, text in texts if text)
    return (
        f'<div class="fm-card"><div class="fm-cover">{inside}{rank}</div>'
        f'<div class="fm-title" title="{title}">{title}</div>{words}{_why(card.parts)}</div>'
    )


def _in_place(card: Card) -> str:
    """Stand in for a cover with a tint of the item's own and the initials of its title."""
    initials = "".join(word[0] for word in card.title.split()[:2] if word[0].isalnum()).upper()
    return f'<span style="background:hsl({crc32(card.item_id.encode()) % 360} 22% 42%)">{in_html(initials)}</span>'


def _why(parts: tuple[Part, ...]) -> str:
    """Draw the parts as one bar; what lowers the score is hollow."""
    bars = "".join(
        f'<span title="{in_html(part.words)}" style="width:{abs(part.percent):.1f}%;'
        f'{"border:2px solid" if part.percent < 0 else "background:"} {part.colour}"></span>'
        for part in parts
    )
    return f'<div class="fm-why">{bars}</div>' if bars else ""
