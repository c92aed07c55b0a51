"""A browser's tab on the dashboard, and everything that it complained about."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dashboard.app import PAGES
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    import playwright.sync_api as playwright

TITLES = {name: title for pages in PAGES.values() for name, title, _ in pages}
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
# Streamlit asks for these below the page's own path first, and says so in the console when they are not there.
ASKED_IN_VAIN = re.compile(r"/_stcore/(health|host-config)$")
# The machine's own networks came or went, which Chromium takes for a reason to ask again.
ASKED_AGAIN = "ERR_NETWORK_CHANGED"
# Every drawing on a canvas begins by clearing it.
COUNT_DRAWINGS = """
    window.drawings = 0;
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    CanvasRenderingContext2D.prototype.clearRect = function (...place) { drawings++; return clear.apply(this, place); };
"""

SETTLED = """
    document.querySelector('[data-test-script-state=notRunning]') !== null
    && [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every(chart => chart.querySelector('canvas'))
"""
# What a reader would have to scroll sideways: the page, or a table on it.
WIDER = """
    [document.documentElement, ...document.querySelectorAll('[data-testid=stMain], .fm-tables')]
        .filter(each => each.scrollWidth > each.clientWidth).map(each => each.outerHTML.slice(0, 200))
"""


@dataclass
class Visitor:
    """One tab, which leaves the dashboard for no other site.

    A module's tests use it one after the other: in a new one each page takes twice the time of the processor.
    """

    page: "playwright.Page"
    home: str = ""
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._request)
        self.page.add_init_script(COUNT_DRAWINGS)

    def _request(self, request: "playwright.Request") -> None:
        if not request.url.startswith((self.home, "data:", "blob:")):
            self.complaints.append(f"asked another site: {request.url}")

    def _console(self, message: "playwright.ConsoleMessage") -> None:
        expected = ASKED_IN_VAIN.search(message.location.get("url", "")) or ASKED_AGAIN in message.text
        if message.type in ("error", "warning") and not expected:
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def visit(self, home: str, width: int = 1400, scheme: Literal["light", "dark"] = "light") -> "Visitor":
        """Begin at another dashboard, or anew."""
        self.home = home
        self.complaints.clear()
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=scheme)
        return self

    def leave(self) -> None:
        """Close what is shown, with what it has noted in the tab."""
        self.page.evaluate("() => { try { sessionStorage.clear(); } catch { /* no page is shown that has one */ } }")
        self.page.goto("about:blank")

    def open(self, name: str, **query: object) -> None:
        asked = "&".join(f"{key}={value}" for key, value in query.items())
        self.page.goto(f"{self.home}/{'' if name == 'overview' else name}?{asked}")
        self.page.get_by_role("heading", level=1).wait_for()
        self.settled()

    def follow(self, name: str) -> None:
        """Follow the sidebar's link to a page, which a narrow window hides: no script is loaded anew."""
        title = TITLES[name]
        self.page.get_by_test_id("stSidebarNavLink").filter(has_text=title).dispatch_event("click")
        self.page.get_by_role("heading", level=1, name=title, exact=True).wait_for()
        self.settled()

    def settled(self) -> None:
        """The script has run to its end and every chart has its canvas."""
        self.page.wait_for_function(SETTLED, polling=50)  # by itself it would ask with every frame

    def fits(self) -> None:
        """Nothing is wider than its place, once it is laid out."""
        until(lambda: self.page.evaluate(WIDER) == [], f"{self.page.url} without scrolling sideways", pause=0.05)

    def text(self) -> str:
        return self.page.locator("[data-testid=stMain]").inner_text()

    def has_no_complaints(self) -> None:
        for wrong in ("stException", "stAlertContentError"):
            assert self.page.locator(f"[data-testid={wrong}]").count() == 0, self.text()
        assert self.complaints == []


def visitor(context: "playwright.BrowserContext") -> Visitor:
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    return Visitor(page)
