"""``fedmem serve`` and ``python -m backend`` as real processes."""

import asyncio
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from backend.server import let_answers_go_first, listen
from fedmem.errors import ConfigError
from tests.backend.conftest import World
from tests.forks import Forked
from tests.waiting import PATIENCE, until
from web.connections import open_files

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)")
# ``python -m``, with as many open files as is usual.
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@contextmanager
def started(*command: str, **environment: str) -> Iterator[Forked]:
    """A process of ours, killed if it does not end."""
    process = Forked(
        [sys.executable, "-c", LIMITED, *command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def address(process: Forked) -> str:
    """Where it says that it listens."""
    printed = ""
    while (found := ADDRESS.search(printed)) is None:
        line = process.stderr.readline()
        assert line, f"ended with {process.wait()}: {printed}"
        printed += line
    return found[1]


def client(process: Forked) -> httpx.Client:
    """Ask on a connection of its own each time: one that is kept may be closed just as the question is on its way."""
    transport = httpx.HTTPTransport(retries=5, limits=httpx.Limits(max_keepalive_connections=0))
    return httpx.Client(base_url=address(process), transport=transport, timeout=PATIENCE)


def last_lines(process: Forked) -> str:
    """What it prints from now to its end, which is a regular one."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert out == ""
    return err


@pytest.fixture
def taken():
    """A port that is listened on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_run_is_served_until_ctrl_c(run):
    with started("cli", "serve", str(run), "--port", "0") as process, client(process) as asking:
        answer = asking.get("/recommend/u03", params={"k": 3})
        assert answer.status_code == 200
        assert len(answer.json()["items"]) == 3
        assert asking.get("/nothing").status_code == 404
        process.send_signal(signal.SIGINT)
        lines = last_lines(process).splitlines()
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    assert ("/recommend/{user_id}", 200) in [(line.get("route"), line.get("status")) for line in logged]
    assert not any("u03" in line for line in lines if line.startswith("{"))


@pytest.mark.parametrize(("command", "by"), [(("backend",), signal.SIGTERM), (("cli", "serve"), signal.SIGINT)])
def test_the_database_is_served_until_the_end_is_asked_for(served_world: World, command, by):
    environment = {"DATABASE_URL": served_world.url, "FEDMEM_DATA_DIR": str(served_world.data_dir), "FEDMEM_PORT": "0"}
    with started(*command, **environment) as process, client(process) as asking:
        job = asking.post("/jobs", json={"dataset": "tiny"}).json()["id"]
        until(lambda: asking.get("/health/ready").status_code == 200, "a model")
        assert asking.get("/recommend/u03").json()["model_version"].startswith("job-1-round-")
        with half_open(asking.base_url.port, 1100):
            assert asking.get("/recommend/u03").status_code == 200
        with asking.stream("GET", f"/jobs/{job}/events") as events:
            lines = events.iter_lines()
            assert next(lines).startswith("event: ")
            process.send_signal(by)
            assert "event: end" not in list(lines)
        assert len(last_lines(process)) < 100_000


@contextmanager
def half_open(port: int, many: int) -> Iterator[None]:
    """So many connections that begin a request and do not go on, more than the server may have open."""
    open_files(many + 200)
    with ExitStack() as stack:
        for _ in range(many):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: ")
        yield


def test_a_port_that_is_taken_is_one_line_that_names_it(run, taken):
    for command in (("cli", "serve", str(run), "--port", str(taken)), ("backend",)):
        with started(*command, FEDMEM_PORT=str(taken)) as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (2, "")
        assert err.count("\n") == 1
        assert f"cannot listen on 127.0.0.1:{taken}" in err
        assert "--port" in err


def test_beyond_this_machine_it_needs_a_key(served_world):
    with started("backend", FEDMEM_HOST="0.0.0.0", DATABASE_URL=served_world.url) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (2, "")
    assert "set FEDMEM_API_KEY" in err


def test_an_address_that_is_not_this_machines():
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["no such host", "a.invalid"])
def test_a_name_that_is_no_address(host):
    with pytest.raises(ConfigError, match="cannot listen on"):
        listen(host, 0)


def test_a_free_port_is_found():
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", 0) as second:
        assert first.getsockname()[1] != second.getsockname()[1] > 0


def test_the_body_of_an_answer_does_not_wait_for_its_head_to_be_acknowledged():
    async def accepted() -> int:
        found = asyncio.get_running_loop().create_future()

        async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken = writer.get_extra_info("socket")
            found.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with listen("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(look, sock=listener):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                await reader.read()
                writer.close()
                return await found

    assert asyncio.run(accepted())


def test_other_threads_hold_up_no_answer():
    interval = sys.getswitchinterval()
    gc.unfreeze()
    try:
        let_answers_go_first()
        assert sys.getswitchinterval() < 0.001
        assert gc.get_freeze_count() > 1000
    finally:
        sys.setswitchinterval(interval)
