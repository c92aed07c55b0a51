"""``fedmem up`` as a newcomer calls it: everything starts, a job is queued and trained by HTTP, Ctrl-C ends all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "features": {"text": "off", "image": "off"},
    "model": {"sasrec_hidden_dim": 16, "max_seq_len": 20},
    "federated": {"num_rounds": 400, "client_fraction": 0.02},
    "evaluation": {"eval_every": 5},
    "save_interval": 5,
}


def environment() -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("FEDMEM_") or "CACHE" in name}
    given.pop("DATABASE_URL", None)
    return given | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def up(folder: Path, *options: str, **variables: str) -> "subprocess.Popen[str]":
    """``fedmem up`` in a folder of its own."""
    command, env = [sys.executable, "-m", "cli", "up", *options], environment() | variables
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def product(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client, int]]:
    api, board = free_port(), free_port()
    process = up(folder, "--no-train", "--port", str(api), "--dashboard-port", str(board))
    with httpx.Client(base_url=f"http://127.0.0.1:{api}", timeout=10) as client:
        until(lambda: process.poll() is not None or answers(client, "/health/live"), "the backend")
        assert process.poll() is None, process.communicate()[0]
        yield process, client, board
    if process.poll() is None:
        process.kill()
    process.communicate()


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def job(client: httpx.Client, number: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/jobs/{number}").raise_for_status().json()
    return found


def test_a_job_is_queued_watched_paused_resumed_and_stopped_and_its_model_recommends(product):
    _, client, board = product
    assert client.get("/health/ready").status_code == 503
    created = client.post("/jobs", json={"dataset": "demo", "config": SMALL})
    assert created.status_code == 201, created.text
    number = created.json()["id"]
    assert created.headers["Location"].endswith(f"/jobs/{number}")
    until(lambda: job(client, number)["round"] >= 5, "five rounds")
    rounds = client.get(f"/jobs/{number}/metrics", params={"after_round": 2}).json()["rounds"]
    assert rounds[0]["round"] == 3
    assert rounds[0]["metrics"]["train"]["recommendation_loss"] > 0
    assert client.post(f"/jobs/{number}/pause").status_code == 202
    until(lambda: job(client, number)["state"] == "paused", "a pause")
    assert client.post(f"/jobs/{number}/resume").status_code == 202
    paused_at = job(client, number)["round"]
    until(lambda: job(client, number)["round"] > paused_at, "a round after the pause")
    assert client.post(f"/jobs/{number}/stop").status_code == 202
    until(lambda: job(client, number)["state"] == "stopped", "a stop")
    assert client.post(f"/jobs/{number}/resume").status_code == 409
    version = job(client, number)["model_version"]
    assert client.post(f"/models/{version}/activate").is_success
    until(lambda: answers(client, "/health/ready"), "the model in service")
    answer = client.get("/recommend/u001", params={"k": 3}).raise_for_status().json()
    assert len(answer["items"]) == 3
    assert all(item["title"] for item in answer["items"])
    assert answer["model_version"] == version
    until(lambda: answers(client, f"http://127.0.0.1:{board}/_stcore/health"), "the dashboard")


def test_what_is_written_is_for_its_user_alone(product, folder):
    found = {path: path.stat().st_mode & 0o077 for path in (folder / "runs").rglob("*") if path.exists()}
    assert any(path.suffix == ".safetensors" for path in found)
    assert any(path.suffix == ".db" for path in found)
    assert any(path.suffix == ".log" for path in found)
    assert [path for path, rights in found.items() if rights] == []


@pytest.mark.parametrize("by_environment", [False, True])
def test_a_port_in_use_is_one_clear_error(product, tmp_path, by_environment):
    _, _, board = product
    api = str(free_port())
    if by_environment:
        process = up(tmp_path, FEDMEM_PORT=api, FEDMEM_DASHBOARD_PORT=str(board))
    else:
        process = up(tmp_path, "--port", api, "--dashboard-port", str(board))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert f"port {board}" in output
    assert "--dashboard-port" in output
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_everything_and_leaves_what_was_trained(product, folder):
    process, client, _ = product
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert not answers(client, "/health/live")
    logs = {path.name: path.read_text(encoding="utf-8") for path in (folder / "runs/service/logs").iterdir()}
    assert logs.keys() == {"backend.log", "trainer.log", "dashboard.log"}
    assert not [name for name, text in logs.items() if "Traceback" in text], logs
