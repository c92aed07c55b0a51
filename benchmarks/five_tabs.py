"""Five tabs of the dashboard on a job that trains: what they cost the trainer.

Trainer, backend and dashboard are processes as the product starts them, the tabs are a real browser's: Overview,
Training, Clients, Memory and Prototypes of the running job, each of which asks for news every two seconds. Stretches of
as many rounds take turns: without any tab, with all five, without, and with what five tabs ask of the backend but no
browser, because that takes more of a small machine than all else.

ratio             the CPU seconds of the trainer's process per round with tabs, over those of the two stretches without
                  around it: the median, and the least and the greatest.
ratio_of_polls    the same for the questions alone.
lock_waits        how often a thread of the trainer found the database's write lock taken, with tabs and without, and
                  how long the longest wait was. Its own threads meet there, heartbeat and commit; others can only if
                  the backend writes, which backend_writes counts. Lines of the logs that speak of a locked database
                  are counted, too.
failed_polls      answers of the backend other than 2xx, and errors that a tab showed at any moment.

    python -m benchmarks.five_tabs [--keep]
"""

import re
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from benchmarks.lock_waits import noted
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.product import PATIENCE, Product, Service, free_port, product
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore

GOAL = 1.03
PAGES = ("", "training", "clients", "memory", "prototypes")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
REQUESTS = re.compile(r'fedmem_http_requests_total\{.*route="(.*)",status="(\d+)"\} (\S+)')
SIDES = ("without", "with", "polls")
POLL_SECONDS = 2.0  # the dashboard's own
# Also what is shown for a moment only.
NOTE_ERRORS = """
    window.errors = new Set();
    const wrong = '[data-testid=stAlertContentError], [data-testid=stAlertContentWarning], [data-testid=stException]';
    new MutationObserver(() => document.querySelectorAll(wrong).forEach(seen => window.errors.add(seen.innerText)))
        .observe(document, {subtree: true, childList: true});
"""
SHOWN_ROUND = "() => Number((document.body.innerText.match(/Round ([0-9,]+) of/) ?? [0, 0])[1])"


@dataclass(frozen=True)
class Sizes:
    """How much is measured: stretches with tabs, as many of polls, and the rounds of each stretch."""

    alternations: int = 5
    rounds: int = 80  # eight validations, wherever a stretch begins


@dataclass
class Site:
    """The product with a job under way, and where its dashboard is."""

    made: Product
    job: int
    jobs: JobStore
    services: dict[str, Service]
    home: str
    locks: dict[str, Path]  # of trainer and backend

    @property
    def round(self) -> int:
        """How far the job is, from the database: the backend is left to the tabs."""
        return self.jobs.get(self.job).round

    def reach(self, number: int) -> int:
        """Wait for a round, and which it is by then."""
        self.made.wait(lambda: self.round >= number, f"round {number}", every=0.02)
        return self.round

    def cpu_seconds(self) -> dict[str, float]:
        """Read each service's CPU seconds so far."""
        return {name: service.cpu_seconds() for name, service in self.services.items()}

    def answers(self) -> Counter[tuple[str, str]]:
        """Count the backend's answers so far, by route and status."""
        with self.made.client as client:
            told = client.get("/metrics").text
        return Counter({(route, status): int(float(count)) for route, status, count in REQUESTS.findall(told)})


@dataclass
class Stretch:
    """What one stretch came to."""

    cpu: float  # seconds of the trainer's process per round
    wall: float  # seconds per round
    others: dict[str, float]  # of one core, that backend and dashboard took meanwhile
    waits: list[tuple[str, float]]  # of the trainer's threads, with their seconds
    backend_writes: int
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)  # to the tabs
    errors: list[str] = field(default_factory=list)

    @property
    def failed(self) -> dict[str, int]:
        """What went wrong, and how often."""
        found = Counter({f"{status} {route}": n for (route, status), n in self.answers.items() if status[0] != "2"})
        return dict(found + Counter(self.errors))


def five_tabs(sizes: Sizes | None = None) -> dict[str, Any]:
    """Measure everything; return one record."""
    sizes = sizes or Sizes()
    with chromium() as browser, site() as at:
        found: dict[str, list[Stretch]] = {side: [] for side in SIDES}
        for _ in range(sizes.alternations):
            found["without"].append(stretch(at, sizes.rounds))
            with tabs(browser, at.home, at.job, PAGES) as pages:
                found["with"].append(with_tabs(at, pages, sizes.rounds))
            found["without"].append(stretch(at, sizes.rounds))
            with polls(at):
                found["polls"].append(stretch(at, sizes.rounds))
        found["without"].append(stretch(at, sizes.rounds))
        locked = sum(log.read_text(encoding="utf-8").count("is locked") for log in at.made.folder.glob("*.log"))
    return figures(found) | {"rounds_per_stretch": sizes.rounds, "locked_in_logs": locked, "machine": machine()}


def figures(found: dict[str, list[Stretch]]) -> dict[str, Any]:
    """Make the record from the stretches: one with tabs and one of polls take turns between those without either."""
    cpu = {side: [each.cpu for each in found[side]] for side in SIDES}
    around = [(before + after) / 2 for before, after in pairwise(cpu["without"])]
    ratios = [tabbed / plain for tabbed, plain in zip(cpu["with"], around[::2], strict=True)]
    polled = [asked / plain for asked, plain in zip(cpu["polls"], around[1::2], strict=True)]
    waits = {side: [wait for each in found[side] for wait in each.waits] for side in SIDES}
    waiting = {side: Counter(thread for thread, _ in waits[side]) for side in SIDES}
    longest = {side: 1000 * max((seconds for _, seconds in waits[side]), default=0.0) for side in SIDES}
    answers = sum((each.answers for each in found["with"]), Counter[tuple[str, str]]())
    failed = sum((Counter(each.failed) for each in found["with"]), Counter[str]())
    return {
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_greatest": max(ratios),
        "goal": GOAL,
        "ratio_of_polls": statistics.median(polled),
        "ratio_of_polls_least": min(polled),
        "ratio_of_polls_greatest": max(polled),
        "lock_waits": {side: dict(threads) for side, threads in waiting.items()},
        "longest_lock_wait_ms": longest,
        "backend_writes": {side: sum(each.backend_writes for each in found[side]) for side in SIDES},
        "failed_polls": failed.total(),
        "failed_by_reason": dict(failed),
        "polls": answers.total(),
        "cpu_seconds_per_round": cpu,
        "cores_of_others": {side: [each.others for each in found[side]] for side in SIDES},
        "seconds_per_round": {side: [each.wall for each in found[side]] for side in SIDES},
    }


@contextmanager
def site() -> Iterator[Site]:
    """Train on the demo until every page has something to show."""
    with product() as made:
        made.store_demo()
        locks = {name: made.folder / f"{name}.locks" for name in ("backend", "trainer")}
        for file in locks.values():
            file.touch()
        services = {"backend": made.start("benchmarks.lock_waits", "backend", str(locks["backend"]), "--every")}
        made.wait(lambda: made.answers("/health/live"), "the backend")
        services["trainer"] = made.start("benchmarks.lock_waits", "trainer", str(locks["trainer"]))
        port = free_port()
        api = f"http://127.0.0.1:{made.port}"
        services["dashboard"] = made.start("dashboard", FEDMEM_API_URL=api, FEDMEM_DASHBOARD_PORT=str(port))
        engine = connect(made.database_url)
        at = Site(made, made.queue_demo(), JobStore(engine), services, f"http://127.0.0.1:{port}", locks)
        made.wait(lambda: made.answers(f"/memory/prototypes?job={at.job}"), "the first prototypes")
        yield at
        engine.dispose()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium, or the one that Playwright has installed."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def tabs(browser: Browser, home: str, job: int, names: Sequence[str]) -> Iterator[list[Page]]:
    """Open one tab of each page on a job, all drawn."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(1000 * PATIENCE)
    yield [opened(context, f"{home}/{name}?job={job}") for name in names]
    context.close()


@contextmanager
def polls(at: Site) -> Iterator[None]:
    """Ask, meanwhile, what five tabs ask: the job, and its rounds since the last time."""
    ended = Event()
    threads = [Thread(target=poll, args=(at, ended)) for _ in PAGES]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def poll(at: Site, ended: Event) -> None:
    """Ask as one tab does."""
    last = -1
    with at.made.client as client:
        while not ended.wait(POLL_SECONDS):
            client.get(f"/jobs/{at.job}").raise_for_status()
            told = client.get(f"/jobs/{at.job}/metrics", params={"after_round": last}).raise_for_status().json()
            last = told["rounds"][-1]["round"] if told["rounds"] else last


def opened(context: BrowserContext, address: str) -> Page:
    """Open a page and wait for its first chart."""
    page = context.new_page()
    page.add_init_script(NOTE_ERRORS)
    page.goto(address)
    page.locator("canvas").first.wait_for()
    return page


def with_tabs(at: Site, pages: list[Page], rounds: int) -> Stretch:
    """Measure a stretch while the tabs are open, and wait until each shows the round that it has ended with.

    Raises:
        BenchmarkError: if one of them did not keep up.
    """
    answered, found = at.answers(), stretch(at, rounds)
    reached = at.round
    for page in pages:
        page.wait_for_function(f"({SHOWN_ROUND})() >= {reached}")
        found.errors += page.evaluate("[...window.errors]")
    found.answers = at.answers() - answered
    return found


def stretch(at: Site, rounds: int) -> Stretch:
    """Measure ``rounds`` rounds, from the end of one to the end of another."""
    first = at.reach(at.round + 1)
    locks = {name: len(noted(file)) for name, file in at.locks.items()}
    began, before = time.perf_counter(), at.cpu_seconds()
    count = at.reach(first + rounds) - first
    cpu = {name: seconds - before[name] for name, seconds in at.cpu_seconds().items()}
    wall = time.perf_counter() - began
    trainer = cpu.pop("trainer")
    others = {name: seconds / wall for name, seconds in cpu.items()}
    news = {name: noted(file)[locks[name] :] for name, file in at.locks.items()}
    return Stretch(trainer / count, wall / count, others, news["trainer"], len(news["backend"]))


def main() -> None:
    """Print the record as JSON."""
    asked = keeping_parser("five_tabs", __doc__).parse_args()
    tell("five_tabs", five_tabs(), asked.keep)


if __name__ == "__main__":
    main()
