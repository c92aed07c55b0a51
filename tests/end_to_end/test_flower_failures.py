"""A job over real Flower nodes of which something is killed in the middle of a round: it ends with the same numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmem.nodes.node import Node
from tests.end_to_end.flower_processes import COMMANDS, Flower, flower, needs_flower
from tests.end_to_end.products import Product
from tests.forks import Forked
from tests.nodes.conftest import SHARDS, LoopbackCourier
from tests.nodes.jobs import JOB, outcome, written
from tests.waiting import until

pytestmark = [needs_flower, pytest.mark.timeout(1_800)]
ENDED = ("succeeded", "failed", "paused", "stopped")
PATIENCE = 900.0  # seconds; a node that was killed is given up by the SuperLink after a minute or two


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, Any]:
    """What the job comes to on three nodes in this process, where nothing fails."""
    folder = tmp_path_factory.mktemp("whole")
    nodes = [Node(name, written(folder / f"{name}.csv", users), folder / name) for name, users in SHARDS.items()]
    with pytest.MonkeyPatch.context() as patch:
        courier = LoopbackCourier(dict(enumerate(nodes)))
        patch.setattr("fedmem.experiment.FlowerCourier.from_environment", lambda: courier)
        product = Product.made(folder / "product")
        job = product.queue(JOB)
        product.train()
    found = outcome(product, job.id)
    assert (found["state"], found["round"]) == ("succeeded", 5)
    return found


class World:
    """Flower, a product whose trainer reaches it, and a job."""

    def __init__(self, running: Flower, folder: Path) -> None:
        self.flower, self.product = running, Product.made(folder / "product")
        self.job_id = self.product.queue(JOB).id
        self.trainer = self.start_trainer()

    def start_trainer(self) -> Forked:
        return self.product.start("-m", "trainer")

    @property
    def state(self) -> str:
        return self.product.jobs.get(self.job_id).state

    def until_within_a_round(self) -> None:
        """Wait until a round is stored, and a node has begun with the next."""
        until(lambda: self.product.jobs.get(self.job_id).round >= 1, "a round", PATIENCE)
        done = self.product.jobs.get(self.job_id).round
        until(lambda: max(self._begun(), default=0) > done, "the next round", PATIENCE)

    def _begun(self) -> list[int]:
        journals = [json.loads(path.read_text()) for path in self.flower.folder.glob("berlin/*/rounds.json")]
        return [number for journal in journals for number in journal["written"]]


@pytest.fixture
def world(tmp_path, monkeypatch):
    for name, users in SHARDS.items():
        written(tmp_path / f"{name}.csv", users)
    with flower(tmp_path) as running:
        for name in SHARDS:
            running.start_node(name)
        monkeypatch.setenv("FEDMEM_SUPERLINK", f"127.0.0.1:{running.port}")
        monkeypatch.setenv("FEDMEM_FLOWER_ENV", str(COMMANDS.parent))
        found = World(running, tmp_path)
        try:
            yield found
        finally:
            found.trainer.kill()
            found.trainer.wait()


def kill_a_node(world: World) -> None:
    world.flower.kill("berlin")
    world.flower.start_node("berlin")


def kill_the_trainer(world: World) -> None:
    world.trainer.kill()
    world.trainer.wait()
    world.product.let_lease_end(world.job_id)
    world.trainer = world.start_trainer()


def kill_the_superlink(world: World) -> None:
    """It forgets its nodes and turns them away, so that they end; a supervisor starts each again."""
    world.flower.kill("link")
    world.flower.start_link()
    for name in SHARDS:
        until(lambda name=name: world.flower.processes[name].poll() is not None, f"the end of {name}", PATIENCE)
        world.flower.start_node(name)


@pytest.mark.parametrize("kill", [kill_a_node, kill_the_trainer, kill_the_superlink])
def test_a_job_goes_on_from_its_last_round_and_counts_nothing_twice(kill: Callable[[World], None], world, expected):
    world.until_within_a_round()
    kill(world)
    until(lambda: world.state in ENDED, "its end", PATIENCE)
    assert world.state == "succeeded", world.product.jobs.get(world.job_id).message
    assert without_counts(outcome(world.product, world.job_id)) == without_counts(expected)


def without_counts(found: dict[str, Any]) -> dict[str, Any]:
    """Without how many answers did not come, which is what was to happen."""
    metrics = [row for row in found["rows"]["metrics"] if row[2] not in ("nodes_missing", "nodes_refused")]
    return {**found, "rows": {**found["rows"], "metrics": metrics}}
