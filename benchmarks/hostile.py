"""Hostile load on the whole product, for minutes: what a well-behaved client gets meanwhile.

    python -m benchmarks.hostile --minutes 60

``fedmem up`` runs on the demo. A well-behaved client asks for recommendations, 20 a second. From another address of
this machine come half-open connections, feedback of one user without end, and the largest batches, of known users and
of histories; jobs are posted that are too large, that diverge, that never end, whose row is damaged or whose folder is
lost, each followed by a whole one; the trainer is killed (SIGKILL), and the disk of the checkpoints is filled and
emptied, where a small file system can be mounted (Linux, as root). Every answer of the well-behaved client must
succeed. Everything stays on this machine.
"""

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load import put_first_model_into_service, users_and_items
from benchmarks.load_generator import Generator, Load, recommendations
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.product import DEMO, PATIENCE, Product, product, resident_mib

RATE = 20.0  # requests a second of the well-behaved client
ATTACKER = "127.0.0.2"  # limits count by address
HALF_OPEN, KILL_EVERY, DISK_EVERY, FULL_FOR = 1_000, 90.0, 60.0, 10.0  # connections, and seconds
DISK_MIB = 400
HISTORIES, HISTORY_LENGTH = 166, 40  # 10,000 items' work where the model reads texts, as the demo's does
LOOK, TRIES = 0.3, 100  # seconds between two looks at a job, and how often a wish is tried
SMALL: dict[str, Any] = {
    "features": {"text": "off", "image": "off"},
    "model": {"sasrec_hidden_dim": 16, "max_seq_len": 20},
    "federated": {"num_rounds": 6, "client_fraction": 0.05},
    "evaluation": {"eval_every": 3},
}
AT_REST = ("failed", "stopped", "paused", "succeeded")
POISON: dict[str, dict[str, Any]] = {
    "too large": {"model": {"sasrec_hidden_dim": 10_000, "sasrec_num_blocks": 20}},
    "diverges": {"federated": {"server_optimizer": "none", "server_learning_rate": 1e30}},
    "never ends": {"federated": {"local_epochs": 10_000, "chunk_size": 10_000}, "training": {"batch_size": 1}},
    "damaged row": {},
    "lost folder": {"federated": {"num_rounds": 100_000}},
}


@dataclass
class Attack:
    """The attacks on one product: what was done, counted by kind and outcome."""

    made: Product
    ending: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter)
    longest: dict[str, float] = field(default_factory=dict)  # seconds from a job's posting to its end, by kind

    @property
    def client(self) -> httpx.Client:
        """A client from the attacker's address."""
        transport = httpx.HTTPTransport(local_address=ATTACKER)
        return httpx.Client(base_url=f"http://127.0.0.1:{self.made.port}", timeout=60.0, transport=transport)

    def half_open(self) -> None:
        """Hold as many connections as there may be, each with half a request."""
        held: list[socket.socket] = []
        while not self.ending.wait(0.01):
            try:
                one = socket.create_connection(("127.0.0.1", self.made.port), 5, (ATTACKER, 0))
                one.sendall(b"POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
                held.append(one)
                self.done["half-open: opened"] += 1
            except OSError:
                self.done["half-open: refused"] += 1
            if len(held) > HALF_OPEN:
                held.pop(0).close()
        for one in held:
            one.close()

    def flood(self) -> None:
        """Send feedback of one user, and ask for that user's recommendations with reasons."""
        _, items = users_and_items(self.made)
        with self.client as client:
            while not self.ending.is_set():
                now = time.time()
                sent = [
                    {"user_id": "flooder", "item_id": items[n % len(items)], "timestamp": now + n} for n in range(500)
                ]
                self._ask("flood", client, "POST", "/feedback", json={"events": sent})
                self._ask("flood", client, "GET", "/recommend/flooder", params={"k": 1000, "explain": True})

    def batches(self) -> None:
        """Ask for the largest batches that are allowed."""
        users, _ = users_and_items(self.made)
        asked = {"requests": [{"user_id": users[n % len(users)], "k": 39} for n in range(256)]}
        with self.client as client:
            while not self.ending.is_set():
                self._ask("batch", client, "POST", "/recommend/batch", json=asked)

    def histories(self) -> None:
        """Ask for batches of histories that are all new, as many of them as one batch may hold."""
        _, items = users_and_items(self.made)
        drawn = random.Random(0)
        with self.client as client:
            while not self.ending.is_set():
                asked = [{"history": drawn.sample(items, HISTORY_LENGTH), "k": 10} for _ in range(HISTORIES)]
                self._ask("batch of histories", client, "POST", "/recommend/batch", json={"requests": asked})

    def jobs(self) -> None:
        """Post poisoned jobs in a row, and a whole one after each, which is to be trained all the same.

        A job that was posted is waited for also where the other attacks end meanwhile.
        """
        kinds = itertools.cycle(POISON)
        with self.made.client as client:
            while not self.ending.is_set():
                self._poison(client, next(kinds))
                self._whole(client)

    def kills(self) -> None:
        """Kill the trainer again and again."""
        while not self.ending.wait(KILL_EVERY):
            for pid in children_of(self.made.running[0].process.pid, "trainer"):
                os.kill(pid, signal.SIGKILL)
                self.done["trainer killed"] += 1

    def disk(self) -> None:
        """Fill the checkpoints' disk, and empty it some seconds later."""
        filler = self.made.data_dir / "jobs" / "filler"
        while not self.ending.wait(DISK_EVERY):
            with contextlib.suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(bytes(2**20))
                    file.flush()
            self.done["disk filled"] += 1
            self.ending.wait(FULL_FOR)
            filler.unlink(missing_ok=True)

    def _ask(self, what: str, client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response | None:
        try:
            answer = client.request(method, path, **more)
        except httpx.HTTPError as error:
            self.done[f"{what}: {type(error).__name__}"] += 1
            return None
        self.done[f"{what}: {answer.status_code}"] += 1
        if answer.status_code in (429, 503):
            self.ending.wait(0.2)  # so that a refusal is not all that this machine's processor does
        return answer

    def _poison(self, client: httpx.Client, kind: str) -> None:
        number = self._posted(client, f"job {kind}", config_of(kind))
        if number is None:
            return
        if kind == "damaged row":
            with contextlib.closing(sqlite3.connect(self.made.folder / "fedmem.db", timeout=30)) as connection:
                connection.execute("UPDATE jobs SET config = '{damaged' WHERE id = ?", (number,))
                connection.commit()
        if kind == "lost folder" and self._comes_to(client, number, lambda job: job["round"] >= 1):
            self._wish(client, number, "pause")
            self._comes_to(client, number, lambda job: job["state"] == "paused")
            shutil.rmtree(self.made.data_dir / "jobs" / str(number), ignore_errors=True)
            self._wish(client, number, "resume")
        if kind == "never ends" and self._comes_to(client, number, lambda job: job["state"] == "running"):
            self._wish(client, number, "stop")
        self._await_end(client, f"job {kind}", number, AT_REST)

    def _whole(self, client: httpx.Client) -> None:
        number = self._posted(client, "whole job", SMALL)
        if number is not None:
            self._await_end(client, "whole job", number, ("succeeded",))

    def _posted(self, client: httpx.Client, what: str, config: dict[str, Any]) -> int | None:
        body = {"dataset": DEMO, "config": config, "kind": "experiment"}
        answer = self._ask(what, client, "POST", "/jobs", json=body)
        return int(answer.json()["id"]) if answer is not None and answer.status_code == 201 else None

    def _wish(self, client: httpx.Client, number: int, wish: str) -> None:
        for _ in range(TRIES):
            answer = self._ask(wish, client, "POST", f"/jobs/{number}/{wish}")
            if answer is not None and answer.is_success:
                return
            time.sleep(LOOK)

    def _await_end(self, client: httpx.Client, what: str, number: int, states: tuple[str, ...]) -> None:
        began = time.monotonic()
        job = self._comes_to(client, number, lambda job: job["state"] in states)
        seconds = time.monotonic() - began
        self.longest[what] = max(self.longest.get(what, 0.0), round(seconds, 1))
        self.done[f"{what}: {'no end seen' if job is None else job['state']}"] += 1

    def _comes_to(
        self, client: httpx.Client, number: int, there: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any] | None:
        """Return a job once it is as wanted, or None where it does not come to be; the end of the attacks waits."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError, KeyError):
                job: dict[str, Any] = client.get(f"/jobs/{number}").json()
                if there(job):
                    return job
            time.sleep(LOOK)
        return None


def config_of(kind: str) -> dict[str, Any]:
    """Return a small configuration with what is poisonous in it."""
    changes = POISON[kind]
    return {name: {**SMALL.get(name, {}), **changes.get(name, {})} for name in SMALL.keys() | changes.keys()}


def children_of(parent: int, module: str) -> list[int]:
    """List the processes of a module that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state = (folder / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if int(state[1]) == parent and module.encode() in command:
                found.append(int(folder.name))
    return found


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system there, where that is possible; whether it was."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(mount, check=True, capture_output=True)
        try:
            yield True
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)
        return
    yield False


def hostile(minutes: float) -> dict[str, Any]:
    """Measure everything; return one record."""
    with product() as made, small_disk(made.data_dir / "jobs") as mounted:
        made.start("cli", "up", "--no-train", "--port", str(made.port), "--dashboard-port", str(made.port + 1),
                   "--data-dir", str(made.data_dir))  # fmt: skip
        made.wait(lambda: made.answers("/health/live"), "the backend")
        put_first_model_into_service(made)
        attack = Attack(made)
        kinds = [attack.half_open, attack.flood, attack.batches, attack.histories, attack.jobs, attack.kills]
        threads = [threading.Thread(target=kind) for kind in [*kinds, *([attack.disk] if mounted else [])]]
        users, _ = users_and_items(made)
        for thread in threads:
            thread.start()
        try:
            load = asyncio.run(Generator(made.port, recommendations(users), RATE).run_for(60 * minutes))
        finally:
            attack.ending.set()
            for thread in threads:
                thread.join()
            size = size_of(made)
            made.running[0].process.terminate()  # before its disk goes
            made.running[0].process.wait(PATIENCE)
        return record_of(minutes, load, attack, mounted) | size


def size_of(made: Product) -> dict[str, float | None]:
    """Measure the memory of the backend, and the logs of all services."""
    (backend,) = children_of(made.running[0].process.pid, "backend")
    logs = sum(file.stat().st_size for file in made.folder.rglob("*.log*"))
    return {"backend_mib": resident_mib(backend), "logs_mib": logs / 2**20}


def record_of(minutes: float, load: Load, attack: Attack, mounted: bool) -> dict[str, Any]:
    """Put together what was found."""
    return {
        "minutes": minutes,
        "requests": len(load.seconds) + load.wrong.total(),
        "errors": load.wrong.total(),
        "errors_by_reason": dict(load.wrong),
        "p50_ms": load.milliseconds(50),
        "p99_ms": load.milliseconds(99),
        "a_disk_was_filled": mounted,
        "attacks": dict(sorted(attack.done.items())),
        "longest_seconds_to_a_jobs_end": attack.longest,
        "machine": machine(),
    }


def main() -> None:
    """Print the record as JSON; the exit code is 1 if any answer of the well-behaved client failed."""
    parser = keeping_parser("hostile", __doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="for how long")
    asked = parser.parse_args()
    record = hostile(asked.minutes)
    tell("hostile", record, asked.keep)
    sys.exit(record["errors"] > 0)


if __name__ == "__main__":
    main()
