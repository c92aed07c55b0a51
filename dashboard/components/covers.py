"""Items as their covers and titles, in a grid that breaks where the window ends."""

import base64
import contextlib
import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from dashboard.client import BackendError
from dashboard.components.connection import client

_SIGNATURES = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "image/webp", b"GIF8": "image/gif"}
Layout = Literal["large", "compact", "small", "strip"]


@dataclass(frozen=True)
class Card:
    """What is shown of one item; ``badge`` and ``meta`` may be empty."""

    item_id: str
    title: str
    meta: str = ""
    badge: str = ""
    rank: int | None = None


def cover_grid(cards: Iterable[Card], dataset: str | None, layout: Layout = "large") -> None:
    """The cards in their order: in a grid, in a row of five, or in a strip that scrolls."""
    inner = "".join(_card(card, dataset) for card in cards)
    st.html(f'<div class="fm-{layout}"><div class="fm-cards">{inner}</div></div>')


@st.cache_data(show_spinner=False, max_entries=4000, ttl=3600)
def cover(item_id: str, dataset: str | None) -> str | None:
    """The picture as a data URL: the browser need not reach the backend. A failure is not remembered."""
    picture = client().picture(item_id, dataset)
    kind = next((kind for start, kind in _SIGNATURES.items() if picture and picture.startswith(start)), None)
    return None if picture is None or kind is None else f"data:{kind};base64,{base64.b64encode(picture).decode()}"


def _card(card: Card, dataset: str | None) -> str:
    picture, title = None, html.escape(card.title)
    with contextlib.suppress(BackendError):
        picture = cover(card.item_id, dataset)
    inside = f'<img src="{picture}" alt="">' if picture else f"<span>{title}</span>"
    rank = "" if card.rank is None else f'<div class="fm-rank">{card.rank}</div>'
    meta = f'<div class="fm-meta">{html.escape(card.meta)}</div>' if card.meta else ""
    badge = f'<div class="fm-badge">{html.escape(card.badge)}</div>' if card.badge else ""
    return (
        f'<div class="fm-card"><div class="fm-cover">{inside}{rank}</div>'
        f'<div class="fm-title" title="{title}">{title}</div>{meta}{badge}</div>'
    )
