"""A trainer's job over nodes: its rounds and models are those of any job, and no history of a node reaches it."""

import json

import pytest

from cli.auditing import of_nodes
from fedmem.attacks import measure_leaks
from fedmem.checkpoint import RunDirectory
from fedmem.contracts import NODES_ARE_NOT_RECORDED
from fedmem.errors import ConfigError, ConflictError
from fedmem.experiment import TrainingRun
from fedmem.nodes.letter import Letter
from fedmem.nodes.node import Node
from fedmem.serving import Question, Recommender
from tests.end_to_end.products import Product
from tests.nodes.conftest import SHARDS, LoopbackCourier
from tests.nodes.jobs import JOB, outcome, written
from tests.nodes.secured import ALL_DRAWN, SECURE, nodes_of, secured_snapshots
from tests.tiny import ITEMS, tiny_config
from trainer.settings import Settings
from trainer.worker import Worker


class After:
    """Asks a trainer to stop once it has looked so often whether to go on."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left <= 0

    def ask(self) -> None:
        self.left = 0

    def wait(self, seconds: float) -> None:
        pass


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """``nodes(folder)``: three nodes with their own data and nothing remembered, which trainers reach from now on."""

    def reached(name: str) -> LoopbackCourier:
        nodes = [Node(each, written(tmp_path / f"{each}.csv", SHARDS[each]), tmp_path / name / each) for each in SHARDS]
        courier = LoopbackCourier(dict(enumerate(nodes, start=101)))
        monkeypatch.setattr("fedmem.experiment.FlowerCourier.from_environment", lambda: courier)
        return courier

    return reached


def test_a_job_over_nodes_ends_with_a_model_that_serves_users_of_the_installation(nodes, tmp_path):
    courier, product = nodes("nodes"), Product.made(tmp_path / "here")
    job = product.queue(JOB, promotion="auto")
    said = product.train()
    found = product.jobs.get(job.id)
    assert (found.state, found.round) == ("succeeded", 5), said
    rows = product.rows(job.id)
    told = {name: value for round, split, name, value in rows["metrics"] if (round, split) == (5, "train")}
    assert (told["nodes"], told["nodes_missing"], told["nodes_refused"]) == (3.0, 0.0, 0.0)
    assert [row for row in rows["metrics"] if row[0] == 0] == [], "no list without a model is measured on users here"
    assert rows["models"], "and its model is there to be served"
    model = Recommender.load(product.directory(job.id).path, found.model_round)
    assert model.dataset.num_users == 0
    assert model.with_held_out().answer(Question(history=["m01", "m02"])).items, "as the API loads it"
    kept = b"".join(
        path.read_bytes() for path in RunDirectory(product.directory(job.id).path).path.rglob("*") if path.is_file()
    )
    assert b"patient" not in kept
    assert courier.sent
    with pytest.raises(ConfigError, match="belongs to their job"):
        product.queue(JOB, start_from=job.id)


def test_a_job_whose_nodes_mask_ends_with_a_model_and_nothing_they_send_names_an_item(nodes, tmp_path):
    courier, product = nodes("nodes"), Product.made(tmp_path / "here")
    job = product.queue({**JOB, "secure_sums": SECURE, "federated": ALL_DRAWN}, promotion="auto")
    said = product.train()
    assert product.jobs.get(job.id).state == "succeeded", said
    rows = product.rows(job.id)
    assert rows["models"]
    told = {name: value for round, split, name, value in rows["metrics"] if (round, split) == (5, "train")}
    assert (told["nodes"], told["nodes_missing"], told["nodes_refused"]) == (3.0, 0.0, 0.0)
    assert told["transition_pairs"] > 0
    sent = [Letter.from_bytes(content) for _, content in courier.sent]
    facts = json.dumps([letter.facts for letter in sent])
    assert not any(f'"{item}"' in facts for item in (f"m{number:02d}" for number in range(1, ITEMS + 1)))
    assert "patient" not in facts


@pytest.mark.parametrize(
    ("secure", "said"), [(True, "masked, read in sums over 3 nodes or more"), (False, "in the clear")]
)
def test_the_audit_says_what_crossed_of_nodes(secure, said):
    config = tiny_config(engine="flower", flower={"minimum_nodes": 3}, secure_sums={"enabled": secure})
    crossed, never_masked = of_nodes(config)
    assert said in crossed
    assert all(each in never_masked for each in ("its name", "how many users", "CPU seconds", "type of an error"))
    assert ("its owner wants" in never_masked) == secure
    assert of_nodes(tiny_config()) == []


@pytest.mark.parametrize("secure", [False, True])
def test_what_nodes_send_cannot_be_attacked_and_the_remedy_is_named(apart, tmp_path, project_root, secure):
    snapshot = secured_snapshots()[1] if secure else apart
    run = TrainingRun.start(tmp_path / "run", snapshot, courier=nodes_of(tmp_path / "nodes"))
    assert next(run.rounds())
    run.close()
    with pytest.raises(ConflictError, match="cannot be recorded by the server") as refused:
        measure_leaks(run.directory, 1, 100)
    assert str(refused.value) == NODES_ARE_NOT_RECORDED
    assert NODES_ARE_NOT_RECORDED[1:] in " ".join((project_root / "docs" / "privacy.md").read_text("utf-8").split())


def test_a_job_that_is_interrupted_at_any_point_ends_with_the_same_numbers(nodes, tmp_path):
    nodes("whole")
    product = Product.made(tmp_path / "whole-product")
    whole = product.queue(JOB)
    product.train()
    nodes("in-pieces")
    other = Product.made(tmp_path / "other-product")
    job = other.queue(JOB)
    pieces = 0
    with pytest.MonkeyPatch.context() as patch:
        for name, value in other.environment.items():
            patch.setenv(name, value)
        for looks in range(20, 2000, 60):
            pieces += 1
            worker = Worker(Settings.load(), After(looks))
            worker.run(until_idle=True)
            worker.stores.jobs.engine.dispose()
            if other.jobs.get(job.id).state == "succeeded":
                break
    assert pieces > 3
    assert outcome(other, job.id) == outcome(product, whole.id)


def test_a_job_that_waits_for_nodes_is_stopped_at_once(nodes, tmp_path):
    nodes("nodes").of.clear()
    product = Product.made(tmp_path / "here")
    job = product.queue(JOB)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in product.environment.items():
            patch.setenv(name, value)
        worker = Worker(Settings.load(), After(100))
        worker.run(until_idle=True)
        worker.stores.jobs.engine.dispose()
    assert product.jobs.get(job.id).state == "queued"


def test_a_job_whose_nodes_do_not_come_is_paused_and_others_are_trained(nodes, tmp_path):
    nodes("nodes").of.clear()
    product = Product.made(tmp_path / "here")
    job = product.queue({**JOB, "flower": {"minimum_nodes": 3, "wait": 0.1}})
    behind = product.queue()
    product.train()
    found = product.jobs.get(job.id)
    assert found.state == "paused"
    assert "0 nodes were there after flower.wait = 0.1 seconds, and 3 have to be" in found.message
    assert product.jobs.get(behind.id).state == "succeeded"


def test_without_flowers_environment_it_fails_with_what_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDMEM_FLOWER_ENV", str(tmp_path / "none"))
    product = Product.made(tmp_path / "here")
    job = product.queue(JOB)
    product.train()
    found = product.jobs.get(job.id)
    assert found.state == "failed"
    assert "make it by `make flower`" in found.message
