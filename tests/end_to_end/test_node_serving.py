"""``fedmem serve --node`` as a real process beside the centre's: the same answers, and nothing that goes there."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from fedmem.serving import Recommender
from tests.forks import Forked
from tests.nodes.conftest import SHARDS
from tests.nodes.runs import history_of, name_of, write_runs
from tests.waiting import PATIENCE, until_it_says

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/recommend")


class Served:
    """A process that serves, at an address."""

    def __init__(self, process: Forked, address: str) -> None:
        self.process, self.address = process, address

    def get(self, path: str) -> httpx.Response:
        with self._client() as client:
            return client.get(path)

    def post(self, history: list[str]) -> httpx.Response:
        with self._client() as client:
            return client.post("/recommend", json={"history": history})

    def _client(self) -> httpx.Client:
        """Ask again while it does not listen yet."""
        return httpx.Client(base_url=self.address, transport=httpx.HTTPTransport(retries=5), timeout=PATIENCE)

    def requests(self) -> int:
        """How many questions for recommendations it was asked."""
        told = self.get("/metrics").text
        return sum(
            int(float(line.split()[-1]))
            for line in told.splitlines()
            if line.startswith("fedmem_recommendations_total")
        )


@contextmanager
def serving(*arguments: Path | str) -> Iterator[Served]:
    """``fedmem serve`` with these arguments."""
    command = [sys.executable, "-m", "cli", "serve", *map(str, arguments), "--port", "0"]
    with Forked(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            found = ADDRESS.search(until_it_says(process.stderr, "/recommend/"))
            assert found is not None
            yield Served(process, found[1])
        finally:
            process.kill()


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = write_runs(tmp_path_factory.mktemp("nodes"))
    # What a node's owner is given.
    shutil.copytree(folder / "run", folder / "model")
    return folder


def items(answer: httpx.Response) -> list[tuple[str, float]]:
    assert answer.status_code == 200, answer.text
    return [(item["item_id"], item["score"]) for item in answer.json()["items"]]


def test_a_node_answers_its_users_as_the_centre_answers_their_histories_and_asks_it_nothing(world):
    with serving(world / "run") as centre, serving(world / "model", "--node", world / "berlin.csv") as node:
        expected = {user: centre.post(history_of(user)) for user in SHARDS["berlin"]}
        before = centre.requests()
        for user, answer in expected.items():
            assert items(node.get(f"/recommend/{name_of(user)}")) == items(answer)
        assert before >= len(expected)
        assert centre.requests() == before
        assert centre.get(f"/recommend/{name_of(4)}?strict=true").status_code == 404
        assert node.get(f"/recommend/{name_of(4)}?strict=true").status_code == 200
        assert node.get("/recommend/stranger?strict=true").status_code == 404


def test_with_its_store_it_answers_as_the_simulation_does_and_without_any_centre(world):
    simulated = Recommender.load(world / "simulated")
    with serving(world / "model", "--node", world / "cadiz.csv", "--store", world / "cadiz") as node:
        for user in SHARDS["cadiz"]:
            expected = simulated.recommend(simulated.dataset.vocabulary.user_id(user))
            found = node.get(f"/recommend/{name_of(user)}")
            assert items(found) == [(one.item.item_id, pytest.approx(one.score, abs=1e-5)) for one in expected.items]
