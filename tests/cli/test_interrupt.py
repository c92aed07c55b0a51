"""Ctrl-C in a real process: what is done is saved, and a resume ends where an uninterrupted run ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from fedmem.checkpoint import RunDirectory
from tests.forks import Forked
from tests.tiny import files_of
from tests.waiting import PATIENCE

ROUNDS = 50
LONG = (
    *("--set", f"federated.num_rounds={ROUNDS}", "--set", "federated.patience=1000"),
    *("--set", "save_interval=2", "--set", "evaluation.eval_every=20"),
)


def process(*arguments: object) -> Forked:
    command = [sys.executable, "-m", "cli", *map(str, arguments)]
    return Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, running: Forked) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        if running.poll() is not None or time.monotonic() > deadline:
            running.kill()
            raise AssertionError(running.communicate())
        time.sleep(0.002)


def test_an_interrupted_run_resumes_to_the_same_bytes(fedmem, data, config, quick, tmp_path):
    command = ("train", "--data", data, "--config", config, *quick, *LONG, "--out")
    with process(*command, tmp_path / "stopped") as running:
        wait_for(tmp_path / "stopped" / "run.json", running)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, err
    assert "Traceback" not in err
    assert out == ""
    stopped_at = RunDirectory(tmp_path / "stopped").read_record().last
    assert f"stopped after round {stopped_at}; continue with --resume" in err
    assert 0 < stopped_at < ROUNDS
    assert fedmem(*command, tmp_path / "stopped", "--resume").code == 0
    assert fedmem(*command, tmp_path / "whole").code == 0
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


def test_an_error_of_the_user_is_exit_code_2_and_one_line(tmp_path):
    with process("train", "--data", tmp_path / "nowhere", "--out", tmp_path / "run") as running:
        out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()
