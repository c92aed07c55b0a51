"""What users, operators and readers do with the product meanwhile: nights, feedback, clicks, open tabs."""

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.sync_api import Error, Page

from benchmarks.five_tabs import chromium, tabs
from benchmarks.load_generator import Request
from benchmarks.product import PATIENCE, BenchmarkError, Product

DATASET = "ml-100k"
FIRST_ROUNDS, NIGHT_ROUNDS = 10, 3
CONFIG: dict[str, Any] = {"features": {"image": "off"}, "federated": {"num_rounds": FIRST_ROUNDS}}
PAGES = ("", "training", "clients", "memory", "training")  # each has a chart of any job, and no standing notice
NEVER = "0 0 1 1 *"  # nearly: the schedule is run by hand
LOOK = 1.0  # seconds
TURN = 60.0  # at an even rate: of each page that is left the dashboard keeps the session for two minutes
EVENTS = 500  # of one request
TAKE_ERRORS = "() => { const seen = [...window.errors]; window.errors.clear(); return seen; }"
Event = dict[str, Any]


@dataclass
class Work:
    """Does it in threads, and counts what was done and what went wrong.

    Attributes:
        made: the product.
        events: interactions that are told of as feedback, in their order.
        seconds: over which they are.
    """

    made: Product
    events: Sequence[Event]
    seconds: float
    ending: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    job: int = 0
    shown: int = 0  # the newest that has a round
    _answers: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=100))

    def train_first(self) -> None:
        """Train a first model, and wait until it serves."""
        with self.made.client as client:
            body = {"dataset": DATASET, "config": CONFIG, "promotion": "auto"}
            self.job = self.shown = int(client.post("/jobs", json=body).raise_for_status().json()["id"])
        self.made.wait(lambda: self.made.answers("/health/ready"), "the first model", LOOK, 10 * PATIENCE)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Do all of it until the block ends."""
        kinds = (self.nights, self.feedback, self.clicks, self.tabs)
        threads = [threading.Thread(target=self._guarded, args=(kind,), name=kind.__name__) for kind in kinds]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.ending.set()
            for thread in threads:
                thread.join()

    def _guarded(self, kind: Any) -> None:
        try:
            kind()
        except (httpx.HTTPError, Error, BenchmarkError) as error:
            self.wrong[f"{kind.__name__}: {error!r}"] += 1

    def nights(self) -> None:
        """Let the model in service go on with the newest data, again and again."""
        with self.made.client as client:
            body = {"dataset": DATASET, "cron": NEVER, "rounds": NIGHT_ROUNDS, "promotion": "auto"}
            schedule = client.post("/schedules", json=body).raise_for_status().json()["id"]
            while not self.ending.is_set():
                self.job = int(client.post(f"/schedules/{schedule}/run").raise_for_status().json()["id"])
                self._await_morning(client)

    def _await_morning(self, client: httpx.Client) -> None:
        while not self.ending.wait(LOOK):
            job = client.get(f"/jobs/{self.job}").raise_for_status().json()
            if job["round"]:  # else its page has nothing to draw yet
                self.shown = self.job
            if job["state"] not in ("queued", "running"):
                self.done["nights"] += 1
                if job["state"] != "succeeded" or not job["model_version"]:
                    self.wrong[f"job {self.job}: {job['state']}, {job['message']}"] += 1
                return

    def feedback(self) -> None:
        """Tell of the interactions at an even rate."""
        told, each = 0, LOOK / self.seconds * len(self.events)
        with self.made.client as client:
            due = 0.0
            while not self.ending.wait(LOOK) and told < len(self.events):
                due += each
                if events := self.events[told : round(due)][:EVENTS]:
                    self._tell(client, "interactions", events)
                    told += len(events)

    def clicks(self) -> None:
        """Tell that an answer was clicked on."""
        now = max(event["timestamp"] for event in self.events)
        with self.made.client as client:
            while not self.ending.wait(LOOK):
                now += 1
                if self._answers:
                    name, user, item = self._answers.pop()
                    click = {"user_id": user, "item_id": item, "timestamp": now, "kind": "click"}
                    self._tell(client, "clicks", [click | {"recommendation_id": name}])

    def hear(self, request: Request, body: bytes) -> None:
        """Keep an answer that may be clicked on."""
        if request.method == "GET" and request.path.startswith("/recommend/") and len(self._answers) < 10:
            answer = json.loads(body)
            if answer["recommendation_id"] and answer["items"]:
                self._answers.append((answer["recommendation_id"], answer["user_id"], answer["items"][0]["item_id"]))

    def _tell(self, client: httpx.Client, what: str, events: Sequence[Event]) -> None:
        answer = client.post("/feedback", json={"events": events})
        if answer.status_code != 200:
            self.wrong[f"{what}: {answer.status_code} {answer.text[:200]}"] += 1
            return
        self.done[what] += len(events)

    def tabs(self) -> None:
        """Keep five tabs open; once a minute each turns to the job of the night."""
        home = f"http://127.0.0.1:{self.made.port + 1}"
        with chromium() as browser, tabs(browser, home, self.shown, PAGES) as pages:
            due = time.monotonic() + TURN
            while not self.ending.wait(LOOK):
                self._read_errors(pages)
                if time.monotonic() > due:
                    due += TURN
                    self._turn(pages, home, self.shown)

    def _read_errors(self, pages: list[Page]) -> None:
        for page in pages:
            self.wrong.update(f"tab: {error}" for error in page.evaluate(TAKE_ERRORS))

    def _turn(self, pages: list[Page], home: str, job: int) -> None:
        for page, name in zip(pages, PAGES, strict=True):
            page.goto(f"{home}/{name}?job={job}")
            self.done["pages opened"] += 1
        for page in pages:
            page.locator("canvas").first.wait_for()
        self.done["pages drawn"] += len(pages)
