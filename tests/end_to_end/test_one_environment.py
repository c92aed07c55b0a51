"""One ``.env`` for all commands, and no password in what they print; services are processes of their own."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest

from tests import forks
from tests.cli.conftest import called
from tests.end_to_end.products import ROOT
from tests.waiting import PATIENCE

Run = Callable[..., str]
SECRETS = ("Geheim-7", "other-secret", "key-of-mine", "llm-key")
LOG = "user_id,item_id,timestamp\n" + "".join(f"u{n % 6},i{n * 5 % 14},{n}\n" for n in range(60))
TINY_JOB = ("--set", "features.text=off", "--set", "features.image=off", "--set", "federated.num_rounds=1")


def environment(**changes: str) -> dict[str, str]:
    given = {name: value for name, value in os.environ.items() if not is_ours(name)}
    return given | {"PYTHONPATH": str(ROOT), "FEDMEM_CACHE_DIR": os.environ["FEDMEM_CACHE_DIR"]} | changes


def is_ours(name: str) -> bool:
    return name.startswith("FEDMEM_") or name == "DATABASE_URL"


@pytest.fixture
def fedmem(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``fedmem("data", "list")``: what a command prints on both streams, in the folder of the shop."""
    monkeypatch.chdir(shop)

    def run(*arguments: str, code: int = 0, **changes: str) -> str:
        with patch.dict(os.environ, environment(**changes), clear=True):
            done = called(*arguments)
        assert done.code == code, (arguments, done)
        return done.out + done.err

    return run


def process(folder: Path, *arguments: str, code: int = 0, **changes: str) -> str:
    """What a service prints, on both streams."""
    done = forks.run([sys.executable, "-m", *arguments], cwd=folder, env=environment(**changes))
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LOG, encoding="utf-8")
    (tmp_path / ".env").write_text(
        "DATABASE_URL=sqlite:///mine.db\nFEDMEM_PORT=0\nFEDMEM_DATA_DIR=kept\n", encoding="utf-8"
    )
    return tmp_path


@pytest.fixture
def backend(shop: Path) -> Iterator[str]:
    """The address of a backend that was started in the folder."""
    command = [sys.executable, "-m", "cli", "serve"]
    with forks.Forked(command, cwd=shop, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = (re.search(r"(http://\S+)/docs", line) for line in process.stderr)
            yield next(found.group(1) for found in lines if found)
        finally:
            process.terminate()


def test_every_command_uses_the_database_that_the_file_names(shop: Path, fedmem: Run) -> None:
    assert "the database sqlite:///mine.db was empty" in fedmem("data", "import", "log.csv", "--name", "log")
    assert "log" in fedmem("data", "list")
    assert "sqlite:///mine.db is at" in fedmem("db", "upgrade")
    assert re.match(r"\d{4}", fedmem("db", "current"))
    assert fedmem("jobs", "start", "--dataset", "log", *TINY_JOB).startswith("1")
    process(shop, "trainer", "--until-idle")
    assert "succeeded" in fedmem("jobs", "list")
    assert "no job" not in fedmem("audit", "1")
    assert (shop / "kept" / "jobs" / "1" / "manifest.json").exists()
    assert not (shop / "runs").exists()
    # Alembic's own command, too.
    process(shop, "alembic", "-c", str(ROOT / "alembic.ini"), "current")
    assert not (shop / "runs").exists()


def test_the_backend_and_the_trainer_use_it_too(shop: Path, fedmem: Run, request: pytest.FixtureRequest) -> None:
    fedmem("data", "import", "log.csv", "--name", "log")
    process(shop, "cli", "trainer", "--until-idle")
    address = request.getfixturevalue("backend")
    with httpx.Client(
        base_url=address, transport=httpx.HTTPTransport(retries=8), timeout=PATIENCE
    ) as client:  # it says where, then listens
        assert [row["name"] for row in client.get("/datasets").json()["datasets"]] == ["log"]
    assert not (shop / "runs").exists()


def test_what_the_environment_says_wins_and_the_source_of_each_value_is_shown(shop: Path, fedmem: Run) -> None:
    shown = fedmem("config", "show", "--services", FEDMEM_MAX_K="50")
    lines = shown.splitlines()
    assert any(
        line.startswith("DATABASE_URL=sqlite:///mine.db  (.env; every command, backend, trainer") for line in lines
    )
    assert "FEDMEM_MAX_K=50  (environment; backend)" in lines
    assert "FEDMEM_HOST=127.0.0.1  (default; backend)" in lines
    assert f"{shop / '.env'} is read; relative paths start at {shop}" in shown
    assert "other.db" in fedmem("db", "upgrade", DATABASE_URL="sqlite:///other.db")
    (shop / ".env").write_text("FEDMEM_PROT=1\n", encoding="utf-8")
    assert "FEDMEM_PROT from .env is no setting (did you mean FEDMEM_PORT?)" in (fedmem("config", "show", "--services"))


def test_a_name_that_stands_twice_stops_every_command(shop: Path) -> None:
    (shop / ".env").write_text("DATABASE_URL=sqlite:///a.db\nDATABASE_URL=sqlite:///b.db\n", encoding="utf-8")
    for command in (("cli", "data", "list"), ("trainer", "--until-idle"), ("backend",), ("dashboard",)):
        assert "DATABASE_URL stands twice, in line 1 and line 2" in process(shop, *command, code=2)
    assert sorted(path.name for path in shop.iterdir()) == [".env", "log.csv"]


def test_no_secret_is_in_anything_that_a_service_prints(shop: Path) -> None:
    url = "postgresql://u:Geheim-7@127.0.0.1:1/shop?password=other-secret"
    text = f"DATABASE_URL={url}\nFEDMEM_API_KEY=key-of-mine\nFEDMEM_LLM_API_KEY=llm-key\n"
    (shop / ".env").write_text(text, encoding="utf-8")
    for command, code in (("cli", 2), ("trainer", 2), ("trainer.health", 1)):
        printed = process(shop, command, *(["data", "list"] if command == "cli" else []), code=code)
        assert "127.0.0.1:1/shop" in printed
        assert not [secret for secret in SECRETS if secret in printed], (command, printed)
