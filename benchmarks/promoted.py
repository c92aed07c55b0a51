"""Requests at an even rate while models change: what fails, and whether each answer is of the model that it names.

    python -m benchmarks.promoted --requests 10000 --rate 200

Two data sets, each with models of three jobs. Users of both are asked for, 200 times a second, while the data sets'
models are put into service in turn, and one data set is A/B-tested between two promotions of it, which end the test.
Beforehand each model is asked for every user; nothing is told of users meanwhile, so that each answer can be compared
with what the model that it names has said. Users must stay in their arm for as long as a test runs.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from benchmarks.load_generator import Generator, Load, Request
from benchmarks.measure import keeping_parser, machine, tell
from benchmarks.product import BenchmarkError, Product, product

K = 5
DATASETS = {"first": 1, "second": 2}  # with the seeds that they are made of
TESTED = "first"
USERS = 120
MODELS = 3  # of each data set
SLOWEST = 20
REST = 0.3  # seconds between two changes
SMALL: dict[str, Any] = {
    "features": {"text": "off", "image": "off"},
    "model": {"sasrec_hidden_dim": 16, "max_seq_len": 20},
    "federated": {"num_rounds": 2, "client_fraction": 0.1},
    "evaluation": {"eval_every": 1},
}


@dataclass
class Judge:
    """Compares answers with what each model has said beforehand, and counts what is wrong."""

    expected: dict[tuple[str, str, str], tuple[str, ...]]  # by data set, version and user, the items
    seen: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    arms: dict[tuple[int, str], str] = field(default_factory=dict)  # by test and user

    def judge(self, dataset: str, user: str, body: bytes) -> None:
        """Judge one answer to a user of a data set."""
        answer = json.loads(body)
        version = answer["model_version"]
        self.seen[version] += 1
        items = tuple(item["item_id"] for item in answer["items"])
        if answer["dataset"] != dataset:
            self.wrong["of the other data set"] += 1
        elif items != self.expected.get((dataset, version, user)):
            self.wrong["not of the version it names"] += 1
        if answer["arm"] is not None:
            self.seen[f"{answer['arm']} of a test"] += 1
            if self.arms.setdefault((answer["ab_test"], user), answer["arm"]) != answer["arm"]:
                self.wrong["of the other arm"] += 1


@dataclass
class Changes:
    """Puts models into service in turn, and tests between, until it is told to end."""

    client: httpx.Client
    versions: dict[str, Sequence[str]]
    ending: threading.Event = field(default_factory=threading.Event)
    done: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Change one thing after the other."""
        number = 0
        while not self.ending.is_set():
            for versions in self.versions.values():
                self._post("promotion", f"/models/{versions[number % len(versions)]}/activate")
            tried = self.versions[TESTED][(number + 1) % len(self.versions[TESTED])]
            self._post("A/B test", "/ab-tests", {"treatment": tried, "share": 0.5})
            self.ending.wait(2 * REST)
            number += 1

    def _post(self, what: str, path: str, body: dict[str, Any] | None = None) -> None:
        answer = self.client.post(path, json=body)
        self.done[what if answer.is_success else f"{what}: {answer.status_code} {answer.text}"] += 1
        self.ending.wait(REST)


def promoted(requests: int, rate: float) -> dict[str, Any]:
    """Measure everything; return one record."""
    with product() as made:
        for name, seed in DATASETS.items():
            made.store_demo(name, seed, USERS)
        made.start("backend", FEDMEM_IMPRESSIONS="0.2", FEDMEM_MODELS_IN_MEMORY="4")
        made.wait(lambda: made.answers("/health/live"), "the backend")
        versions = trained(made)
        users = {name: known_users(made, name) for name in DATASETS}
        with made.client as client:
            judge = Judge(said_beforehand(client, versions, users))
            changes = Changes(client, versions)
            load = under_changes(Generator(made.port, iter(()), rate), judge, changes, users, requests)
        return record_of(load, judge, changes) | {"machine": machine()}


def trained(made: Product) -> dict[str, Sequence[str]]:
    """Train the models, and name them by data set."""
    jobs: dict[str, list[int]] = {name: [] for name in DATASETS}
    with made.client as client:
        for number in range(MODELS):
            for name in DATASETS:
                body = {"dataset": name, "config": {**SMALL, "seed": number}, "promotion": "auto"}
                jobs[name].append(int(client.post("/jobs", json=body).raise_for_status().json()["id"]))
        made.start("trainer")
        found: dict[str, Sequence[str]] = {}
        found |= {name: [_version(made, client, job) for job in numbers] for name, numbers in jobs.items()}
    made.running.pop().end()  # nothing trains meanwhile: what is promoted is here
    return found


def _version(made: Product, client: httpx.Client, job: int) -> str:
    made.wait(lambda: client.get(f"/jobs/{job}").json()["state"] == "succeeded", f"job {job}")
    return str(client.get(f"/jobs/{job}").json()["model_version"])


def known_users(made: Product, dataset: str) -> list[str]:
    """List the users of a data set."""
    with made.client as client:
        page = client.get("/users", params={"dataset": dataset, "limit": 500}).raise_for_status().json()
    return [user["user_id"] for user in page["users"]]


def said_beforehand(
    client: httpx.Client, versions: dict[str, Sequence[str]], users: dict[str, list[str]]
) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Ask each model, once it is in service, for all users of its data set."""
    expected = {}
    for dataset, names in versions.items():
        for version in names:
            client.post(f"/models/{version}/activate").raise_for_status()
            for user in users[dataset]:
                answer = client.get(path_of(dataset, user)).raise_for_status().json()
                if answer["model_version"] != version:
                    raise BenchmarkError(f"{version} was activated, and {answer['model_version']} answers")
                expected[dataset, version, user] = tuple(item["item_id"] for item in answer["items"])
    return expected


def path_of(dataset: str, user: str) -> str:
    """Ask for a user's best items."""
    return f"/recommend/{quote(user, safe='')}?dataset={dataset}&k={K}"


def drawn(users: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Draw data sets and users of them without end."""
    rng, names = np.random.default_rng(0), list(users)
    while True:
        dataset = names[int(rng.integers(len(names)))]
        yield dataset, users[dataset][int(rng.integers(len(users[dataset])))]


def under_changes(
    generator: Generator, judge: Judge, changes: Changes, users: dict[str, list[str]], requests: int
) -> Load:
    """Send the requests while models change, and judge each answer."""
    asked: dict[str, tuple[str, str]] = {}

    def each() -> Iterator[Request]:
        for dataset, user in drawn(users):
            path = path_of(dataset, user)
            asked[path] = dataset, user
            yield Request("GET", path)

    generator.requests = each()
    generator.heard = lambda request, body: judge.judge(*asked[request.path], body)
    thread = threading.Thread(target=changes.run)
    thread.start()
    try:
        return asyncio.run(_sent(generator, requests, changes))
    finally:
        changes.ending.set()
        thread.join()


async def _sent(generator: Generator, requests: int, changes: Changes) -> Load:
    """Send so many, and on a slow machine more, until everything was changed once."""

    def going(sent: int) -> bool:
        return sent < requests or (not changes.done["A/B test"] and sent < SLOWEST * requests)

    try:
        return await generator.run(going)
    finally:
        generator.close()


def record_of(load: Load, judge: Judge, changes: Changes) -> dict[str, Any]:
    """Put the counts together."""
    return {
        "requests": len(load.seconds) + load.wrong.total(),
        "failed": load.wrong.total(),
        "failed_by_reason": dict(load.wrong),
        "wrong": dict(judge.wrong),
        "answers_by": dict(sorted(judge.seen.items())),
        "changes": dict(sorted(changes.done.items())),
        "p50_ms": load.milliseconds(50),
        "p99_ms": load.milliseconds(99),
        "late_p99_ms": 1000 * float(np.percentile(load.late, 99)),
    }


def main() -> None:
    """Print the record as JSON."""
    parser = keeping_parser("promoted", __doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="how many are sent")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    asked = parser.parse_args()
    record = promoted(asked.requests, asked.rate)
    tell("promoted", record, asked.keep)


if __name__ == "__main__":
    main()
