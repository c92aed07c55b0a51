"""The README's commands, run as they stand there, in an empty folder."""

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

from tests.end_to_end.test_up import answers, environment, up
from tests.ports import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
CURL = next(line for line in COMMANDS if line.startswith("curl "))
FEDMEM = [line for line in COMMANDS if line.startswith("fedmem ")]
ELSEWHERE = ("make ", "curl ", ". .venv/bin/activate")  # made by Makefile, asked below, and no command of ours


def run(line: str, folder: Path) -> str:
    """The output of a ``fedmem`` command of the README."""
    command = [sys.executable, "-m", "cli", *shlex.split(line)[1:]]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_is_run_by_a_test():
    assert [line for line in COMMANDS if not line.startswith(("fedmem ", *ELSEWHERE))] == []
    assert len(FEDMEM) >= 4


def test_the_commands_for_data_of_ones_own_do_what_they_say(tmp_path):
    outputs = [run(line, tmp_path) for line in FEDMEM]
    recommended = outputs[[line.startswith("fedmem recommend") for line in FEDMEM].index(True)]
    assert len(recommended.splitlines()) >= 10
    assert json.loads(run("fedmem data list --json", tmp_path))[0]["name"] == "films"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the API of what ``make demo`` starts, by the Makefile's own recipe."""
    recipe = next(line for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if "fedmem up" in line)
    api, board = free_port(), free_port()
    options = shlex.split(recipe.replace("$(PORT)", str(api)).replace("$(DASHBOARD_PORT)", str(board)))[2:]
    # A trainer steps back for others by default, and would wait for as long as other tests keep the machine busy.
    process = up(tmp_path_factory.mktemp("demo"), *options, FEDMEM_TRAINER_NICE="0")
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{api}", timeout=10) as client:
            # A job of 150 rounds: seconds on a machine of its own, minutes on a busy one.
            until(lambda: process.poll() is not None or answers(client, "/health/ready"), "the first model", 500)
        assert process.poll() is None, process.communicate()[0]
        yield api
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


def test_make_demo_trains_a_model_that_answers_with_titles(port):
    command = shlex.split(CURL.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    done = subprocess.run([*command, "--silent"], env=os.environ, capture_output=True, text=True, timeout=PATIENCE)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert len(answer["items"]) == 5
    assert all(item["title"] for item in answer["items"])
