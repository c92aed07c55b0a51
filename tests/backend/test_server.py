"""``fedmem serve`` as a real process."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from backend.server import listen
from fedmem.errors import ConfigError


def serving(run: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fedmem", "serve", str(run), "--port", str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_it_says_where_it_listens_answers_and_ends_on_ctrl_c(run):
    with serving(run, 0) as server:
        try:
            printed = ""
            while (found := re.search(r"(http://127\.0\.0\.1:\d+)/recommend", printed)) is None:
                line = server.stderr.readline()
                assert line, f"ended with {server.wait()}: {printed}"
                printed += line
            transport = httpx.HTTPTransport(retries=5)
            with httpx.Client(base_url=found[1], transport=transport, timeout=60) as client:
                answer = client.get("/recommend/3", params={"k": 3})
                assert answer.status_code == 200
                assert len(answer.json()["items"]) == 3
                assert client.get("/nothing").status_code == 404
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=30)
        finally:
            server.kill()
    assert server.returncode == 0, err
    assert "Traceback" not in err
    assert out == ""


def test_a_port_that_is_taken_is_one_line_that_names_it(run, taken):
    with serving(run, taken) as server:
        out, err = server.communicate(timeout=60)
    assert (server.returncode, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith(f"error: cannot listen on 127.0.0.1:{taken}")
    assert "--port" in err


def test_an_address_that_is_not_this_machines(run):
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["no such host", "a.invalid"])
def test_a_name_that_is_no_address(host):
    with pytest.raises(ConfigError, match="cannot listen on"):
        listen(host, 0)


def test_a_free_port_is_found():
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", 0) as second:
        assert first.getsockname()[1] != second.getsockname()[1] > 0
