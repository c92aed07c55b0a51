"""In a real browser, text is never markup: what is written as such in ids, titles and messages is shown as it is."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from dashboard.client import ApiClient
from dashboard.transport import RefusedError
from tests.dashboard import hostile
from tests.dashboard.hostile import DATASET, ENCODER, KEY, LINE, MARKUP, MESSAGE, WORKER, Hostile, hostile_product
from tests.dashboard.plain_texts import TEXTS
from tests.dashboard.sites import PAGES, ROOT, dashboard_on, open_page, wait_for
from tests.end_to_end.visitor import Visitor
from tests.forks import Forked
from tests.ports import free_port
from tests.waiting import PATIENCE, until

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
WIDE, NARROW = 1400, 420
# The fields in which Streamlit takes text as it is; that of a chart is drawn on its canvas.
PLAIN = {"Selectbox.options", "Selectbox.raw_value", "MultiSelect.options", "Code.code_text", "VegaLiteChart.spec"}
MARKS = ("**b**", "~~e~~", "<b>j</b>", ":smile:", ":material/home:", hostile.ELSEWHERE)
# What would be made of the texts, wherever it stands; the dashboard's own words make none of these.
MADE = (
    "img[src*='.invalid'], a[href*='invalid'], a[href^='mailto'], em, del, s, .katex, [aria-label='home icon'], "
    "img[alt='Streamlit logo'], .stMarkdownColoredText:not(:has([role=img]))"
)
BY_LETTER = ":is(b, strong, code):text-matches('^[a-k]$')"


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Iterator[Hostile]:
    with hostile_product(tmp_path_factory.mktemp("hostile")) as product:
        yield product


@pytest.fixture(scope="module")
def home(product) -> Iterator[str]:
    with dashboard_on(product.api) as home:
        yield home


def shows(tab: Visitor, *texts: str) -> None:
    """The texts, as they are, and nothing made of them; no other site was asked for anything."""
    tab.settled()
    for text in texts:
        playwright.expect(tab.page.locator("body")).to_contain_text(text)
    for made in (MADE, BY_LETTER):
        found = tab.page.locator(made).evaluate_all("all => all.map(each => each.outerHTML)")
        assert found == [], "made of text"
    body = tab.page.locator("body").inner_text()
    assert "😄" not in body
    assert "l → m" not in body
    assert tab.complaints == []


def test_every_page_shows_texts_as_they_are(product, home, visit):
    tab = visit(home)
    pages = {
        "trained": {
            "overview": [DATASET],
            "memory": [DATASET],
            "prototypes": nearest(product),
            "recommend": [DATASET, hostile.genre(1)],
            "online": [DATASET],
            "experiments": [DATASET, ENCODER],
            "datasets": [],  # a table on a canvas
            "items": [DATASET, hostile.title(2), hostile.genre(2)],
            "users": [DATASET],
        },
        "running": {"training": [DATASET, KEY], "clients": [DATASET, KEY], "system": [DATASET, LINE, WORKER]},
        "failed": {"schedules": [DATASET, MESSAGE], "memory": [DATASET, MESSAGE], "privacy": [DATASET, MESSAGE]},
    }
    assert {name for shown in pages.values() for name in shown} == set(PAGES)
    for job, shown in pages.items():
        tab.open("overview", job=getattr(product, job))
        for name, texts in shown.items():
            tab.follow(name)
            for width in (WIDE, NARROW):
                tab.page.set_viewport_size({"width": width, "height": 900})
                shows(tab, *texts)
                until(partial(fits, tab, width), f"the page {name} in {width} pixels")  # it is laid out anew


def fits(tab: Visitor, width: int) -> bool:
    return tab.page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width


def nearest(product: Hostile) -> list[str]:
    """The titles that the page of the prototypes shows, as the API tells them."""
    asked = f"{product.api}/memory/prototypes?job={product.trained}"
    told = httpx.get(asked, timeout=PATIENCE).raise_for_status().json()
    titles = [prototype["nearest"][0]["title"] for prototype in told["prototypes"]]
    assert any(title.endswith(MARKUP) for title in titles)
    return titles


@pytest.mark.parametrize("number", range(4))
def test_a_user_is_called_by_the_id_as_it_is(home, visit, number):
    tab = visit(home)
    tab.open("recommend", user=quote(hostile.user(number), safe=""))
    shows(tab, f"User {hostile.user(number)} has taken")
    playwright.expect(tab.page.get_by_role("combobox", name="User")).to_have_value(hostile.user(number))


def test_a_history_is_put_together_by_titles_as_they_are(home, visit):
    tab = visit(home)
    unknown = quote(f"unknown {MARKUP}", safe="")
    tab.open("recommend", items=f"{quote(quote(hostile.item_id(3), safe=''))},{quote(unknown)}")
    shows(tab, f"The data set {DATASET} has no item “unknown {MARKUP}”", hostile.title(3))
    nothing = f"nothing {MARKUP[:150]}"
    for words in (f"Film 2 {MARKUP[:150]}", MARKUP[:150], nothing):
        tab.page.get_by_label("Search titles").fill(words)
        tab.page.get_by_label("Search titles").press("Enter")
        tab.page.get_by_label("Search titles").blur()
        tab.settled()
    shows(tab, f"No title contains “{nothing}”")
    tab.page.get_by_label("Search titles").fill("Film 2")
    tab.page.get_by_label("Search titles").press("Enter")
    tab.page.get_by_role("button", name=hostile.title(2), exact=True).click()
    tab.page.get_by_text("has taken 2 items").wait_for()
    shows(tab, hostile.title(2), hostile.title(3))


def test_a_chart_tells_titles_as_they_are(product, home, visit):
    tab = visit(home)
    tab.open("recommend", user=quote(hostile.user(3), safe=""))
    canvas = tab.page.locator("canvas").nth(-2)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    tooltip = tab.page.locator("#vg-tooltip-element.visible")
    for y in range(40, 120, 4):
        tab.page.mouse.move(box["x"] + 60, box["y"] + y)
        if tooltip.count():
            break
    assert MARKUP in " ".join(tooltip.inner_text().split())
    shows(tab)


def test_the_lists_of_choices_are_of_texts_as_they_are(product, home, visit):
    tab = visit(home)
    tab.open("training", job=product.trained, new=1)
    for label in ("Job", "Compare with", "Data set"):
        choices, options = tab.page.get_by_role("combobox", name=label, exact=True), tab.page.get_by_role("option")
        until(partial(listed, choices, options), "the list of choices")
        shows(tab)
        choices.press("Escape")
        playwright.expect(options).to_have_count(0)


def listed(choices: "playwright.Locator", options: "playwright.Locator") -> bool:
    """Ask for the list, again where the page was drawn anew meanwhile; the key only moves in one that is open."""
    choices.press("ArrowDown")
    texts = options.all_inner_texts()  # as they are now: a list may close while its texts are waited for
    return bool(texts) and " ".join(DATASET.split()) in " ".join(texts[-1].split())


@pytest.mark.parametrize("job", ["trained", "running", "failed"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_sends_no_text_that_is_not_escaped(product, monkeypatch, name, job):
    monkeypatch.setenv("FEDMEM_API_URL", product.api)
    page = open_page(name, job=getattr(product, job), user=hostile.user(3), new=1, compare=product.experiment)
    assert raw_texts(page) <= PLAIN


@pytest.mark.parametrize("name", PAGES)
def test_a_page_sends_no_message_that_is_not_escaped(product, monkeypatch, name):
    def refused(*_, **__):
        raise RefusedError(409, MESSAGE)

    monkeypatch.setenv("FEDMEM_API_URL", product.api)
    for method in ("models", "trainers", "datasets", "prototypes", "item_map", "ready", "earlier_logs"):
        monkeypatch.setattr(ApiClient, method, refused)
    assert raw_texts(open_page(name, job=product.running, new=1)) <= PLAIN
    monkeypatch.setattr(ApiClient, "jobs", refused)
    assert raw_texts(open_page(name, job=product.running)) <= PLAIN


def raw_texts(page: AppTest) -> set[str]:
    """The fields of the page's elements in which markup stands as it came."""
    elements = [node.proto for node in nodes(page._tree) if isinstance(getattr(node, "proto", None), Message)]
    assert elements
    return {field for each in elements for field, text in strings(each) if any(mark in text for mark in MARKS)}


def nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", {}).values():
        yield from nodes(child)


def strings(message: Message) -> Iterator[tuple[str, str]]:
    """Each text that is sent to the browser, by message and field."""
    for field, value in message.ListFields():
        for each in value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]:
            if isinstance(each, Message):
                yield from strings(each)
            elif isinstance(each, str) and field.name != "id":
                yield f"{type(message).__name__}.{field.name}", each


def test_every_element_that_takes_markdown_shows_plain_text(visit):
    with streamlit_on("tests/dashboard/plain_texts.py") as address:
        tab = visit(address)
        tab.page.goto(address)
        tab.page.get_by_test_id("stToast").wait_for()
        tab.settled()
        for number, text in enumerate(TEXTS):
            place = tab.page.locator(f".st-key-text-{number}")
            texts = place.locator("[data-testid=stMarkdownContainer], [data-testid=stCaptionContainer], .stHtml")
            playwright.expect(texts).not_to_have_count(0)
            shown = {" ".join(found.split()) for found in texts.all_text_contents()}
            assert shown == {" ".join(text.split())}
            assert place.locator("img, a, em, strong, b, del, code, .katex, :is(h1, h2, h4), ul, ol, hr").count() == 0
        assert tab.complaints == []


@contextmanager
def streamlit_on(script: str) -> Iterator[str]:
    """The address of a script that Streamlit runs."""
    port = free_port()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    options = (f"--server.port={port}", "--server.address=127.0.0.1", "--server.headless=true")
    command = [sys.executable, "-m", "streamlit", "run", script, *options, "--browser.gatherUsageStats=false"]
    with Forked(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
