"""The dashboard in a real browser: every page in every state, live rounds on the same canvas, a job from start to stop."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

import migrations
from fedmem.contracts import Job
from fedmem.storage.jobs import Lease
from tests.dashboard.example_rounds import Curves
from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import POLL, backend_on, dashboard_on
from tests.end_to_end.products import Product

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
PAGES = ("overview", "training", "clients", "memory", "prototypes", "recommend", "experiments", "privacy", "system")
# Streamlit asks for these below the page's own path first, and says so in the console when they are not there.
ASKED_IN_VAIN = re.compile(r"/_stcore/(health|host-config)$")
NEWS = 2 * POLL + 3  # two polls, and time to draw on a busy machine
MARK = "window.marked = document.querySelector('canvas')"
SAME = "window.marked !== undefined && window.marked === document.querySelector('canvas')"


@dataclass
class Visitor:
    """A browser's tab on the dashboard, and everything that it complained about."""

    page: "playwright.Page"
    home: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))

    def _console(self, message: "playwright.ConsoleMessage") -> None:
        if message.type in ("error", "warning") and not ASKED_IN_VAIN.search(message.location.get("url", "")):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def open(self, name: str, **query: object) -> None:
        asked = "&".join(f"{key}={value}" for key, value in query.items())
        self.page.goto(f"{self.home}/{'' if name == 'overview' else name}?{asked}")
        self.page.get_by_role("heading", level=1).wait_for()
        self.settled()

    def settled(self) -> None:
        """The script has run to its end and every chart has its canvas."""
        self.page.wait_for_function("() => document.querySelector('[data-test-script-state=notRunning]') !== null")
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].every(c => c.querySelector('canvas'))"
        )

    def text(self) -> str:
        return self.page.locator("[data-testid=stMain]").inner_text()

    def has_no_complaints(self) -> None:
        assert self.page.locator("[data-testid=stException]").count() == 0, self.text()
        assert self.complaints == []


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser: {CHROMIUM} is not there (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """``visit(address)``: a new tab, at any width."""
    contexts = []

    def opened(address: str, width: int = 1400) -> Visitor:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        return Visitor(page, address)

    yield opened
    for context in contexts:
        context.close()


@dataclass(frozen=True)
class Site:
    """A product with its backend and its dashboard."""

    product: Product
    api: str
    home: str

    def job(self, job_id: int) -> Job:
        """As the API tells it, which must be as it stands in the database."""
        told = Job.model_validate(httpx.get(f"{self.api}/jobs/{job_id}").json())
        stored = self.product.jobs.get(job_id)
        assert (told.state, told.desired_state, told.round) == (stored.state, stored.desired_state, stored.round)
        return told


@pytest.fixture(scope="module")
def empty_site(tmp_path_factory) -> Iterator[Site]:
    """A database without data."""
    folder = tmp_path_factory.mktemp("empty")
    product = Product(f"sqlite:///{folder / 'fedmem.db'}", folder / "data")
    migrations.upgrade(product.url)
    with backend_on(product.url, product.data_dir) as api, dashboard_on(api) as home:
        yield Site(product, api, home)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """Job 1 was really trained and is in service, job 2 was an experiment, and job 3 is under way."""
    product = Product.made(tmp_path_factory.mktemp("site"))
    product.queue()
    product.queue({"ablation": {"disable_memory": True}}, kind="experiment")
    product.train()
    with backend_on(product.url, product.data_dir) as api, dashboard_on(api) as home:
        yield Site(product, api, home)


@pytest.fixture(scope="module")
def running(site) -> tuple[PretendedTrainer, Lease]:
    """A job whose rounds the test itself commits."""
    trainer = PretendedTrainer(site.product.url)
    trainer.queue("tiny", federated={"num_rounds": 100})
    lease = trainer.claim()
    trainer.train(lease, 20, Curves(), seconds=2.0)
    return trainer, lease


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_an_empty_database(empty_site, visit, name):
    visitor = visit(empty_site.home)
    visitor.open(name)
    visitor.has_no_complaints()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("job", [1, 2])
def test_every_page_opens_on_a_finished_job(site, visit, name, job):
    visitor = visit(site.home)
    visitor.open(name, job=job)
    visitor.has_no_complaints()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1400, 420])
def test_every_page_opens_on_a_running_job_in_a_wide_and_a_narrow_window(site, running, visit, name, width):
    _, lease = running
    visitor = visit(site.home, width)
    visitor.open(name, job=lease.job_id)
    visitor.has_no_complaints()
    wide = visitor.page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= width


def test_a_new_round_appears_on_the_same_canvas_and_the_zoom_stays(site, running, visit):
    trainer, lease = running
    visitor = visit(site.home)
    visitor.open("training", job=lease.job_id)
    before = site.job(lease.job_id).round
    visitor.page.get_by_text(f"Round {before} of 100").wait_for()
    canvas = visitor.page.locator("canvas").first
    zoom(visitor, canvas)
    visitor.page.evaluate(MARK)
    zoomed = canvas.screenshot()
    trainer.train(lease, before + 1, Curves())
    visitor.page.get_by_text(f"Round {before + 1} of 100").wait_for(timeout=NEWS * 1000)
    visitor.settled()
    assert visitor.page.evaluate(SAME)
    assert canvas.screenshot() == zoomed, "the zoom of a chart without news has changed"
    visitor.has_no_complaints()


def zoom(visitor: Visitor, canvas: "playwright.Locator") -> None:
    plain = canvas.screenshot()
    box = canvas.bounding_box()
    visitor.page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    visitor.page.keyboard.down("Shift")
    for _ in range(3):
        visitor.page.mouse.wheel(0, -200)
        time.sleep(0.1)
    visitor.page.keyboard.up("Shift")
    visitor.page.mouse.move(5, 5)
    time.sleep(1)
    assert canvas.screenshot() != plain, "Shift and the wheel zoom"
