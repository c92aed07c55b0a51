"""The product as a newcomer meets it: the README's commands as they stand there, and what ``make demo`` starts."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import called
from tests.ports import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
CURL = next(line for line in COMMANDS if line.startswith("curl "))
FEDMEM = [line for line in COMMANDS if line.startswith("fedmem ")]
ELSEWHERE = ("make ", "curl ", ". .venv/bin/activate")  # made by Makefile, asked below, and no command of ours
# The command line, with a first job of a few rounds.
CUT = """
from cli import main, preparing
preparing.DEMO_CHANGES["federated"]["num_rounds"] = 5
main()
"""
DELETED = "whoever-is-gone-4711"
SMALL = {
    "features": {"text": "off", "image": "off"},
    "model": {"sasrec_hidden_dim": 16, "max_seq_len": 20},
    "federated": {"num_rounds": 400, "client_fraction": 0.02},
    "evaluation": {"eval_every": 5},
    "save_interval": 5,
}


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with nothing set."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    return tmp_path


def run(line: str) -> str:
    """The output of a ``fedmem`` command of the README."""
    done = called(*shlex.split(line)[1:])
    assert done.code == 0, done.err
    return done.out


def test_every_command_is_run_by_a_test():
    assert [line for line in COMMANDS if not line.startswith(("fedmem ", *ELSEWHERE))] == []
    assert len(FEDMEM) >= 4


def test_the_commands_for_data_of_ones_own_do_what_they_say(elsewhere):
    outputs = [run(line) for line in FEDMEM]
    recommended = outputs[[line.startswith("fedmem recommend") for line in FEDMEM].index(True)]
    assert len(recommended.splitlines()) >= 10
    assert json.loads(run("fedmem data list --json"))[0]["name"] == "films"


def environment() -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("FEDMEM_") or "CACHE" in name}
    given.pop("DATABASE_URL", None)
    return given | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def up(folder: Path, *options: str, **variables: str) -> "subprocess.Popen[str]":
    """``fedmem up`` in a folder of its own."""
    command, env = [sys.executable, "-c", CUT, "up", *options], environment() | variables
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def product(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client, int]]:
    """What ``make demo`` starts, by the Makefile's own recipe, once its first model answers: (process, API, board)."""
    api, board = free_port(), free_port()
    dry = ["make", "--dry-run", "demo", f"PORT={api}", f"DASHBOARD_PORT={board}"]
    recipe = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    options = shlex.split(recipe)[2:]
    # A trainer steps back for others by default, and would wait for as long as other tests keep the machine busy.
    process = up(folder, *options, FEDMEM_TRAINER_NICE="0")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{api}", timeout=PATIENCE) as client:
            until(
                lambda: process.poll() is not None or answers(client, "/health/ready"),
                "the first model",
                500,
                pause=0.1,
            )
            assert process.poll() is None, process.communicate()[0]
            yield process, client, board
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # a kill would leave alive what it has started
        process.communicate(timeout=PATIENCE)


def holders(folder: Path) -> list[str]:
    """The files of the data folder, the database's and logs included, that hold the deleted user's id."""
    # Unlike rglob, walk heeds no folder that is renamed meanwhile.
    there = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return [str(path) for path in there if DELETED.encode() in content(path)]


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a file that lives for a moment
        return b""


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def job(client: httpx.Client, number: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/jobs/{number}").raise_for_status().json()
    return found


def test_make_demo_trains_a_model_that_answers_with_titles(product):
    _, client, _ = product
    command = shlex.split(CURL.replace("127.0.0.1:8000", f"127.0.0.1:{client.base_url.port}"))
    done = subprocess.run([*command, "--silent"], env=os.environ, capture_output=True, text=True, timeout=PATIENCE)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert len(answer["items"]) == 5
    assert all(item["title"] for item in answer["items"])


def test_a_job_is_queued_watched_paused_resumed_and_stopped_and_its_model_recommends(product, folder):
    _, client, board = product
    items = [item["item_id"] for item in client.get("/items", params={"limit": 12}).json()["items"]]
    events = [{"user_id": DELETED, "item_id": item, "timestamp": 1.7e9 + n} for n, item in enumerate(items)]
    assert client.post("/feedback", json={"events": events}).is_success
    created = client.post("/jobs", json={"dataset": "demo", "config": SMALL})
    assert created.status_code == 201, created.text
    number = created.json()["id"]
    assert created.headers["Location"].endswith(f"/jobs/{number}")
    until(lambda: job(client, number)["round"] >= 5, "five rounds")
    assert holders(folder), "the snapshot holds whoever was there when it was taken"
    attempts = job(client, number)["attempts"]
    assert client.delete(f"/users/{DELETED}").status_code == 204
    until(lambda: job(client, number)["attempts"] > attempts, "the job without the deleted user")
    until(lambda: not holders(folder), "no trace of the deleted user", pause=0.3)  # it reads every file
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
    body = {"dataset": "demo", "config": SMALL, "start_from": number, "kind": "experiment"}
    longer = client.post("/jobs", json=body).json()["id"]
    until(lambda: job(client, longer)["round"] > job(client, number)["round"], "a round of the continuation")
    assert client.post(f"/jobs/{longer}/stop").status_code == 202
    until(lambda: job(client, longer)["state"] == "stopped", "a stop")
    assert not holders(folder)


def test_what_is_written_is_for_its_user_alone(product, folder):
    found = {path: path.stat().st_mode & 0o077 for path in (folder / "runs").rglob("*") if path.exists()}
    assert any(path.suffix == ".safetensors" for path in found)
    assert any(path.suffix == ".db" for path in found)
    assert any(path.suffix == ".log" for path in found)
    assert [path for path, rights in found.items() if rights] == []


@pytest.mark.parametrize("by_environment", [False, True])
def test_a_port_in_use_is_one_clear_error(product, elsewhere, monkeypatch, by_environment):
    _, _, board = product
    api, options = str(free_port()), ["--dashboard-port", str(board)]
    if by_environment:
        monkeypatch.setenv("FEDMEM_PORT", api)
        monkeypatch.setenv("FEDMEM_DASHBOARD_PORT", options.pop())
        options.clear()
    else:
        options += ["--port", api]
    done = called("up", *options)
    assert done.code == 2
    assert f"port {board}" in done.err
    assert "--dashboard-port" in done.err
    assert not list(elsewhere.iterdir())


def test_ctrl_c_ends_everything_and_leaves_what_was_trained(product, folder):
    process, client, _ = product
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert not answers(client, "/health/live")
    logs = {path.name: path.read_text(encoding="utf-8") for path in (folder / "runs/service/logs").iterdir()}
    assert logs.keys() == {"backend.log", "trainer.log", "dashboard.log", "up.log"}
    lines = {name: [json.loads(line) for line in text.splitlines()] for name, text in logs.items()}
    assert {name: {line["service"] for line in found} for name, found in lines.items()} == {
        "backend.log": {"backend"}, "trainer.log": {"trainer"}, "dashboard.log": {"dashboard"}, "up.log": {"up"},
    }  # fmt: skip
    assert all({"time", "level", "logger", "message"} <= line.keys() for found in lines.values() for line in found)
    assert {line.get("job") for line in lines["trainer.log"]} >= {None, 1, 2}
    assert {json.loads(line)["service"] for line in output.splitlines()} == {"up"}
    assert not [name for name, text in logs.items() if "Traceback" in text], logs
