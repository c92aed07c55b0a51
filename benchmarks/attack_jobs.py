"""Attacks on a product that runs, by its jobs, its trainer and its disk."""

import contextlib
import itertools
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.attack import Attack
from benchmarks.product import PATIENCE

KILL_EVERY, DISK_EVERY, FULL_FOR = 90.0, 60.0, 10.0  # seconds
LOOK, TRIES = 0.3, 100  # seconds between two looks at a job, and how often a wish is tried
SMALL: dict[str, Any] = {
    "features": {"text": "off", "image": "off"},
    "model": {"sasrec_hidden_dim": 16, "max_seq_len": 20},
    "federated": {"num_rounds": 6, "client_fraction": 0.05},
    "evaluation": {"eval_every": 3},
}
AT_REST = ("failed", "stopped", "paused", "succeeded")
PROMOTIONS = ("auto", "gate")  # of the whole jobs, in turn
POISON: dict[str, dict[str, Any]] = {
    "too large": {"model": {"sasrec_hidden_dim": 10_000, "sasrec_num_blocks": 20}},
    "diverges": {"federated": {"server_optimizer": "none", "server_learning_rate": 1e30}},
    "never ends": {"federated": {"local_epochs": 10_000, "chunk_size": 10_000}, "training": {"batch_size": 1}},
    "damaged row": {},
    "lost folder": {"federated": {"num_rounds": 100_000}},
}


@dataclass
class JobAttack(Attack):
    """Adds attacks by jobs of all data sets, which go on while a trainer dies and a disk fills."""

    longest: dict[str, float] = field(default_factory=dict)  # seconds from a job's posting to its end, by kind

    def jobs(self) -> None:
        """Post poisoned jobs in a row, and a whole one after each, which is to be trained and promoted all the same.

        A job that was posted is waited for also where the other attacks end meanwhile.
        """
        kinds, promotions = itertools.cycle(POISON), itertools.cycle(PROMOTIONS)
        with self.made.client as client:
            for dataset in self.in_turn():
                self._poison(client, next(kinds), dataset)
                self._whole(client, dataset, next(promotions))

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

    def _poison(self, client: httpx.Client, kind: str, dataset: str) -> None:
        number = self._posted(client, f"job {kind}", dataset=dataset, config=config_of(kind))
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

    def _whole(self, client: httpx.Client, dataset: str, promotion: str) -> None:
        number = self._posted(client, "whole job", dataset=dataset, config=SMALL, promotion=promotion)
        if number is not None:
            self._await_end(client, "whole job", number, ("succeeded",))

    def _posted(self, client: httpx.Client, what: str, **body: Any) -> int | None:
        answer = self.ask(what, client, "POST", "/jobs", json=body)
        return int(answer.json()["id"]) if answer is not None and answer.status_code == 201 else None

    def _wish(self, client: httpx.Client, number: int, wish: str) -> None:
        for _ in range(TRIES):
            answer = self.ask(wish, client, "POST", f"/jobs/{number}/{wish}")
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
