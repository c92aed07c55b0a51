"""The command line as a user calls it, on data that trains in a second."""

import contextlib
import csv
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cli import main
from tests.own_logging import logging_as_before
from tests.tiny import ITEMS, TINY, walks

# What takes time has tests of its own.
QUICK = ("--set", "features.text=off", "--set", "features.image=off")


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def called(*arguments: object) -> Outcome:
    """Run ``fedmem`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with pytest.MonkeyPatch.context() as patch, streams[0], streams[1], logging_as_before():
        patch.setattr(sys, "argv", ["fedmem", *map(str, arguments)])
        patch.setenv("COLUMNS", "200")
        try:
            main()
        except SystemExit as ended:
            return Outcome(int(ended.code or 0), out.getvalue(), err.getvalue())
    return Outcome(0, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def fedmem() -> Run:
    """``fedmem("train", "--data", path)`` -> Outcome."""
    return called


def write_data(folder: Path, num_users: int = 12) -> Path:
    """A folder of interactions and titles."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "timestamp"])
        for user, sequence in enumerate(walks(num_users, ITEMS)):
            writer.writerows((f"u{user:02d}", f"m{item:02d}", time) for time, item in enumerate(sequence))
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "title", "genres", "year"])
        # Titles that a terminal's markup or emoji would swallow.
        writer.writerows((f"m{item:02d}", f"[rec] :cat: Film {item}", "Drama", 1990) for item in range(1, ITEMS + 1))
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve users, thirty films."""
    return write_data(tmp_path_factory.mktemp("data") / "films")


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration file that trains six rounds in a second."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(fedmem: Run, data: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the command line trained."""
    path = tmp_path_factory.mktemp("trained") / "run"
    outcome = fedmem("train", "--data", data, "--config", config, "--out", path, *QUICK)
    assert outcome.code == 0, outcome.err
    return path


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Options that leave the encoders out."""
    return QUICK
