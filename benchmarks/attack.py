"""Attacks on a product that runs, by requests and connections, from another address of this machine."""

import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from benchmarks.load import users_and_items
from benchmarks.product import Product

ATTACKER = "127.0.0.2"  # limits count by address
SOCKET = "/_stcore/stream"  # of the dashboard
HALF_OPEN, PAGES, STREAMS = 1_000, 1_100, 60  # held at a time; of pages and streams that is more than one caller may
HISTORIES, HISTORY_LENGTH = 166, 40  # 10,000 items' work where the model reads texts, as the demo's does
HEAVY = (
    "/memory/map?job=1",
    "/memory/prototypes?job=2",
    "/memory/transitions/growth?job=1&item_id=m001",
    "/memory/transitions?k=100&followers=100",
)
SWAP_EVERY = 15.0  # seconds between two changes of the model in service
RECENT = 6  # models, of which one is put into service


@dataclass
class Attack:
    """The attacks on one product: what was done, counted by kind and outcome."""

    made: Product
    datasets: tuple[str, ...]
    ending: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter)

    @property
    def client(self) -> httpx.Client:
        """A client from the attacker's address."""
        transport = httpx.HTTPTransport(local_address=ATTACKER)
        return httpx.Client(base_url=f"http://127.0.0.1:{self.made.port}", timeout=60.0, transport=transport)

    @cached_property
    def known(self) -> dict[str, tuple[list[str], list[str]]]:
        """Users and items by data set."""
        return {dataset: users_and_items(self.made, dataset) for dataset in self.datasets}

    def half_open(self) -> None:
        """Hold as many connections as there may be, each with half a request."""
        half = b"POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le"
        self._hold("half-open", half, HALF_OPEN, 0.01)

    def streams(self) -> None:
        """Watch a job that waits for ever, by more streams than one address may have."""
        with self.client as client:
            job = client.post("/jobs", json={"dataset": self.datasets[0]}).raise_for_status().headers["location"]
            client.post(f"{job}/pause").raise_for_status()
        self._hold("stream", f"GET {job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(), STREAMS, 0.2)

    def pages(self) -> None:
        """Hold more pages of the dashboard open than there may be."""
        held: list[ClientConnection] = []
        while not self.ending.wait(0.1):
            try:
                held.append(self._page(source_address=(ATTACKER, 0)))
                self.done["page: opened"] += 1
            except (OSError, WebSocketException):
                self.done["page: refused"] += 1
            if len(held) > PAGES:
                held.pop(0).close_socket()
        for one in held:
            one.close_socket()

    def visit(self) -> None:
        """Open a page of the dashboard now and then, as a reader does who attacks nothing."""
        while not self.ending.wait(5.0):
            try:
                self._page().close()
                self.done["a reader's page: opened"] += 1
            except (OSError, WebSocketException) as error:
                self.done[f"a reader's page: {error!r}"] += 1

    def flood(self) -> None:
        """Send feedback of one user, and ask for that user's recommendations with reasons."""
        with self.client as client:
            for dataset in self.in_turn():
                _, items = self.known[dataset]
                now, of = time.time(), {"dataset": dataset}
                sent = [
                    {"user_id": "flooder", "item_id": items[n % len(items)], "timestamp": now - n} for n in range(500)
                ]
                self.ask("flood", client, "POST", "/feedback", params=of, json={"events": sent})
                self.ask("flood", client, "GET", "/recommend/flooder", params=of | {"k": 1000, "explain": True})

    def batches(self) -> None:
        """Ask for the largest batches that are allowed."""
        with self.client as client:
            for dataset in self.in_turn():
                users, _ = self.known[dataset]
                asked = {"requests": [{"user_id": users[n % len(users)], "k": 39} for n in range(256)]}
                self.ask("batch", client, "POST", "/recommend/batch", params={"dataset": dataset}, json=asked)

    def histories(self) -> None:
        """Ask for batches of histories that are all new, as many of them as one batch may hold."""
        drawn = random.Random()
        with self.client as client:
            for dataset in self.in_turn():
                _, items = self.known[dataset]
                asked = [{"history": drawn.sample(items, HISTORY_LENGTH), "k": 10} for _ in range(HISTORIES)]
                self.ask(
                    "batch of histories",
                    client,
                    "POST",
                    "/recommend/batch",
                    params={"dataset": dataset},
                    json={"requests": asked},
                )

    def heavy_reads(self) -> None:
        """Ask for what is read of a job's folder or of the whole memory."""
        with self.client as client:
            for dataset in self.in_turn():
                for path in HEAVY:
                    self.ask("heavy read", client, "GET", f"{path}&dataset={dataset}")

    def swaps(self) -> None:
        """Put a recent model of each data set into service in turn, and what served before it."""
        drawn = random.Random(0)
        with self.client as client:
            for dataset, back in zip(self.in_turn(), itertools.cycle((False, False, True, True)), strict=False):
                self.ending.wait(SWAP_EVERY)
                of = {"dataset": dataset}
                if back:
                    self.ask("rollback", client, "POST", "/models/rollback", params=of)
                    continue
                listed = self.ask("list of models", client, "GET", "/models", params=of | {"limit": RECENT})
                if listed is not None and listed.is_success:
                    version = drawn.choice(listed.json()["models"])["version"]
                    self.ask("activation", client, "POST", f"/models/{version}/activate")

    def in_turn(self) -> Iterator[str]:
        """Name the data sets in turn, until the attacks end."""
        for dataset in itertools.cycle(self.datasets):
            if self.ending.is_set():
                return
            yield dataset

    def ask(self, what: str, client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response | None:
        """Send a request and count what came of it."""
        try:
            answer = client.request(method, path, **more)
        except httpx.HTTPError as error:
            self.done[f"{what}: {type(error).__name__}"] += 1
            return None
        self.done[f"{what}: {answer.status_code}"] += 1
        if answer.status_code in (429, 503):
            self.ending.wait(0.2)  # so that a refusal is not all that this machine's processor does
        return answer

    def _hold(self, what: str, sent: bytes, most: int, every: float) -> None:
        """Hold connections that have sent this and read nothing; the oldest gives way."""
        held: list[socket.socket] = []
        while not self.ending.wait(every):
            try:
                one = socket.create_connection(("127.0.0.1", self.made.port), 5, (ATTACKER, 0))
                held.append(one)
                one.sendall(sent)
                self.done[f"{what}: opened"] += 1
            except OSError:
                self.done[f"{what}: refused"] += 1
            if len(held) > most:
                held.pop(0).close()
        for one in held:
            one.close()

    def _page(self, **more: Any) -> ClientConnection:
        page: ClientConnection = connect(f"ws://127.0.0.1:{self.made.port + 1}{SOCKET}", open_timeout=10, **more)
        return page
