"""A machine that dies while it trains, and its backup brought up elsewhere: callers are answered as before."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from backend.app import create_app
from tests.backend.conftest import World, settings_of, wait_for_model
from tests.cli.conftest import called
from tests.end_to_end.products import Product
from tests.ports import free_port
from tests.waiting import PATIENCE, until

USERS = ("u00", "u03", "u11", "newcomer")
DELETED, HIDDEN = "u02", "m07"
EVENTS = [
    *({"user_id": "newcomer", "item_id": f"m{item:02}", "timestamp": 1e6 + item} for item in (1, 2, 4, 8, 16)),
    {"user_id": "u03", "item_id": "m29", "timestamp": 2e6},
]
ENDLESS = {"federated": {"num_rounds": 100_000, "patience": 100_000}}


@contextmanager
def up(product: Product) -> Iterator[httpx.Client]:
    """``fedmem up`` on a product's database and folder, once a model is in service; all of it is killed in the end."""
    api, board = free_port(), free_port()
    command = [sys.executable, "-m", "cli", "up", "--no-train", "--data-dir", str(product.data_dir)]
    command += ["--port", str(api), "--dashboard-port", str(board)]
    log = product.data_dir / "up.stderr"
    with log.open("ab") as said:
        process = subprocess.Popen(command, cwd=product.data_dir, env=product.environment, stderr=said)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{api}", timeout=PATIENCE) as client:
            until(lambda: process.poll() is not None or is_ready(client), "the model in service", pause=0.2)
            assert process.poll() is None, log.read_text()
            yield client
    finally:
        if process.poll() is None:
            kill_with_all_below(process.pid)
        process.wait()
        sys.stdout.write(log.read_text())  # shown where the test fails


def kill_with_all_below(pid: int) -> None:
    """End a process and all that it has started, from above, so that none starts another again."""
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(pid, signal.SIGKILL)
    for child in below:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended by itself
            kill_with_all_below(int(child))


def is_ready(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/health/ready").is_success
    return False


def answers(client: httpx.Client) -> dict[str, Any]:
    """What several users are recommended, with scores, and by which model."""
    found = {user: client.get(f"/recommend/{user}", params={"k": 8}).raise_for_status().json() for user in USERS}
    return {
        user: (
            answer["model_version"],
            answer["strategy"],
            [(item["item_id"], item["score"]) for item in answer["items"]],
        )
        for user, answer in found.items()
    }


def change_what_is_there(client: httpx.Client) -> None:
    """Hide an item, send feedback, add an item, delete a user."""
    client.post("/items/availability", json={"hide": [HIDDEN]}).raise_for_status()
    client.post("/feedback", json={"events": EVENTS}).raise_for_status()
    client.put("/items/new", json={"title": "A new film"}).raise_for_status()
    client.delete(f"/users/{DELETED}").raise_for_status()


def is_training(product: Product, job_id: int, after: int) -> bool:
    return product.jobs.get(job_id).round > after


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> tuple[Path, int, dict[str, Any]]:
    """A backup that was made while all ran, the number of the job that trained then, and what callers were answered.

    Everything was killed right after it.
    """
    folder = tmp_path_factory.mktemp("machine")
    product = Product.made(folder / "here")
    product.queue()
    product.train()
    with up(product) as client:
        change_what_is_there(client)
        job = product.queue(ENDLESS)
        until(lambda: is_training(product, job.id, 3), "rounds of the job")
        with TestClient(create_app(settings_of(World(folder / "here" / "fedmem.db", product.data_dir)))) as fresh:
            wait_for_model(fresh)
            told = answers(fresh)
        until(lambda: answers(client) == told, "what was sent to be counted in all answers")
        backup = folder / "backup"
        made = called("backup", backup, "--database-url", product.url, "--data-dir", product.data_dir)
        assert made.code == 0, made.err
        reached = product.jobs.get(job.id).round
        until(lambda: is_training(product, job.id, reached), "rounds after the backup")
    product.engine.dispose()
    return backup, job.id, told


def test_what_a_dead_machine_answered_is_answered_elsewhere(before, tmp_path):
    backup, job_id, told = before
    product = Product(f"sqlite:///{tmp_path}/elsewhere.db", tmp_path / "elsewhere")
    done = called("restore", backup, "--database-url", product.url, "--data-dir", product.data_dir)
    assert done.code == 0, done.err
    interrupted = product.jobs.get(job_id)
    assert (interrupted.state, interrupted.round >= 3) == ("running", True), "as it was at that moment"
    product.let_lease_end(job_id)
    with up(product) as client:
        assert answers(client) == told
        assert {version for version, _, _ in told.values()} == {product.jobs.get(1).model_version}
        assert told["newcomer"][1] == "model"
        assert all(HIDDEN not in dict(items) for _, _, items in told.values())
        assert client.get(f"/items/{HIDDEN}").json()["available"] is False
        assert client.get("/items/new").json()["title"] == "A new film"
        assert client.get(f"/recommend/{DELETED}", params={"strict": True}).status_code == 404
        until(lambda: is_training(product, job_id, interrupted.round), "the interrupted job's next round")
        client.post(f"/jobs/{job_id}/stop").raise_for_status()
        until(lambda: product.jobs.get(job_id).state == "stopped", "its end")
    product.engine.dispose()


def test_nothing_of_the_deleted_user_is_in_the_backup(before):
    backup, _, _ = before
    files = [path for path in backup.rglob("*") if path.is_file()]
    assert any(path.stat().st_size for path in files)
    assert not [path for path in files if DELETED.encode() in path.read_bytes()]
