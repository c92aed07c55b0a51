"""A product with its dashboard, what is known of it past the page, and how its buttons are pressed."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from fedmem.contracts import Job
from fedmem.storage.models import ModelStore
from tests.dashboard.sites import asked
from tests.end_to_end.products import Product
from tests.end_to_end.visitor import Visitor
from tests.waiting import PATIENCE, until

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
SOON = 5  # seconds until a click that did nothing is tried again
POLLED = re.compile(r'fedmem_http_requests_total\{.*route="/jobs/\{job_id\}",status="200"\} (\S+)')


@dataclass(frozen=True)
class Site:
    """A product with its backend and its dashboard."""

    product: Product
    api: str
    home: str

    def job(self, job_id: int) -> Job:
        """As the API tells it, which must be as it stands in the database."""
        told = Job.model_validate(asked(f"{self.api}/jobs/{job_id}").json())
        stored = self.product.jobs.get(job_id)
        assert (told.state, told.desired_state) == (stored.state, stored.desired_state)
        assert told.round <= stored.round
        return told

    def told(self, path: str) -> dict[str, Any]:
        """What the API answers."""
        answer: dict[str, Any] = asked(f"{self.api}{path}").raise_for_status().json()
        return answer

    def active(self) -> str | None:
        """The version to serve."""
        row = ModelStore(self.product.engine).active("tiny")
        return None if row is None else row.version

    def polls(self) -> int:
        """How often a dashboard has asked for a job."""
        found = POLLED.search(asked(f"{self.api}/metrics").text)
        return 0 if found is None else int(float(found[1]))

    def polled(self, tab: Visitor, times: int) -> None:
        """Wait for so many questions more, and for what the last one but one has changed."""
        enough, deadline = self.polls() + times, time.monotonic() + PATIENCE
        while self.polls() < enough:
            assert time.monotonic() < deadline, "the page asks for no news"
            tab.page.wait_for_timeout(50)


def press(where: "playwright.Locator", name: str, patience: float = PATIENCE) -> None:
    """Press the button, once the copy is gone that Streamlit keeps for a moment of what it draws anew."""
    button = where.get_by_role("button", name=name)
    playwright.expect(button).to_have_count(1, timeout=1000 * patience)
    button.click(timeout=1000 * patience)


def asks(dialog: "playwright.Locator", press_button: Callable[[float], None]) -> bool:
    """Open a dialog; a click is lost on a page that is drawn anew in that moment, and is then tried again.

    A dialog that comes late has made the button inert by then.
    """
    try:
        if not dialog.is_visible():
            press_button(SOON)
        dialog.wait_for(timeout=1000 * SOON)
    except (playwright.TimeoutError, AssertionError):
        return False
    return True


def choose(tab: Visitor, label: str, option: str) -> None:
    """Choose from a list, which closes on a page that is drawn anew in that moment, and is then opened again."""
    choices = tab.page.get_by_role("combobox", name=label)
    wanted = tab.page.get_by_role("option").filter(has_text=option)
    until(lambda: _is_chosen(choices, wanted), f"{option!r} among {label!r}")


def _is_chosen(choices: "playwright.Locator", wanted: "playwright.Locator") -> bool:
    try:
        if choices.get_attribute("aria-expanded", timeout=1000 * SOON) != "true":  # else a click would close it
            choices.click(timeout=1000 * SOON)
        wanted.click(timeout=1000 * SOON)
    except playwright.TimeoutError:
        return False
    return True


def confirm(tab: Visitor, name: str, answer: str) -> None:
    """Press a button of the page that asks first, and answer the question."""
    main, dialog = tab.page.locator("[data-testid=stMain]"), tab.page.get_by_role("dialog")
    until(lambda: asks(dialog, lambda patience: press(main, name, patience)), "the dialog that asks")
    dialog.get_by_role("button", name=answer).click()
    playwright.expect(dialog).to_have_count(0)
