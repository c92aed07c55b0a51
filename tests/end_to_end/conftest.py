"""A real browser, and tabs in it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.visitor import CHROMIUM, FLAGS, Visitor, visitor
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    import playwright.sync_api as playwright


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser: {CHROMIUM} is not there (apt-get install chromium)")
    playwright.expect.set_options(timeout=1000 * PATIENCE)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser):
    """The browser keeps what it has loaded from test to test."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="module")
def only_tab(context) -> Visitor:
    return visitor(context)


@pytest.fixture
def visit(only_tab):
    """``visit(address)``: an empty tab, of any width."""
    yield only_tab.visit
    only_tab.leave()
