"""Processes of the product that begin where its libraries are imported, which takes two of each one's seconds.

They are forked from a process that has imported the libraries and nothing of ours: what is ours each imports itself,
from the folder, the path and the environment that it is given. In all else they are processes like any other, to be
stopped, killed and waited for. What is said of a start, of imports or of a whole product stays with ``subprocess``.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import ModuleType
from typing import IO, Any
from unittest.mock import patch

import pytest

from tests.waiting import PATIENCE

# As test processes import them: with one thread (see conftest.py).
LIBRARIES = """
    torch torch._dynamo pandas pyarrow.csv pyarrow.parquet python_calamine scipy.sparse scipy.stats safetensors.numpy
    skimage.transform PIL.Image yaml rich typer platformdirs dotenv pydantic.v1 pydantic_settings sqlite3 psycopg
    sqlalchemy.dialects.sqlite sqlalchemy.dialects.postgresql alembic.command concurrent.futures.process httpx
    starlette.middleware.cors fastapi.responses fastapi_offline uvicorn.protocols.http.h11_impl prometheus_client
    streamlit.web.bootstrap altair
"""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(LIBRARIES.split())


class Forked:
    """What is used of ``subprocess.Popen``, with its arguments: ``Forked([sys.executable, "-m", "trainer"])``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        text: bool = False,
        start_new_session: bool = False,
    ) -> None:
        mode = "" if text else "b"
        their_input, self.stdin = _pipe(stdin, 0, f"w{mode}")
        their_output, self.stdout = _pipe(stdout, 1, f"r{mode}")
        their_errors, self.stderr = _pipe(their_output if stderr == subprocess.STDOUT else stderr, 2, f"r{mode}")
        streams = [Connection(number) for number in (their_input, their_output, their_errors)]
        about = str(cwd or os.getcwd()), dict(os.environ if env is None else env), start_new_session
        self._process = CONTEXT.Process(target=_become, args=(list(command[1:]), streams, *about))
        with patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):  # theirs is no module of ours
            self._process.start()
        for stream in streams:
            stream.close()
        self.pid = self._process.pid
        assert self.pid is not None
        atexit.register(self.kill)  # or the end of the tests would wait for one that was forgotten

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = PATIENCE) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode

    def communicate(self, timeout: float = PATIENCE) -> tuple[Any, Any]:
        """What it prints from now on, on both streams, until it has ended."""
        if self.stdin is not None:
            self.stdin.close()
        streams = [stream for stream in (self.stdout, self.stderr) if stream is not None]
        with ThreadPoolExecutor(2) as pool:
            printed = dict(zip(streams, [pool.submit(stream.read) for stream in streams], strict=True))
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()  # or its output would not end
                raise
        found = [printed[stream].result() if stream in printed else None for stream in (self.stdout, self.stderr)]
        return found[0], found[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            assert self.pid is not None
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes begin there, too, where it is not their start that is shown."""
    monkeypatch.setattr("fedmem.federated.workers.multiprocessing.get_context", lambda _: CONTEXT)


def run(command: Sequence[str], **given: Any) -> "subprocess.CompletedProcess[str]":
    """``subprocess.run`` with what it prints kept as text, as a fork."""
    with Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **given) as process:
        out, err = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)


def _pipe(wanted: int | IO[Any] | None, own: int, mode: str) -> tuple[int, IO[Any] | None]:
    """A stream's end for the process, and ours where it is a pipe."""
    if wanted == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if wanted == subprocess.PIPE:
        reading, writing = os.pipe()
        return (reading, os.fdopen(writing, mode)) if own == 0 else (writing, os.fdopen(reading, mode))
    if wanted is None:
        return os.dup(own), None
    return os.dup(wanted if isinstance(wanted, int) else wanted.fileno()), None


def _become(
    command: list[str], streams: list[Connection], folder: str, environment: dict[str, str], new_session: bool
) -> None:
    """Be ``python`` with these arguments: ``-m module ..``, ``-c code ..`` or ``script ..``."""
    if new_session:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    first = folder if command[0] in ("-m", "-c") else os.path.dirname(command[0])
    sys.path[:0] = [first, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    elif command[0] == "-c":
        sys.argv = ["-c", *command[2:]]
        exec(compile(command[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")
