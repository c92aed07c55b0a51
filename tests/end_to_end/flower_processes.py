"""Real Flower processes on loopback: a SuperLink and SuperNodes, with certificates and keys if that is asked for."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedmem.nodes.flower_courier import FlowerCourier
from fedmem.nodes.flower_settings import FlowerSettings
from tests.nodes.conftest import SHARDS, shard
from tests.ports import free_port
from tests.tiny import tiny_dataset

COMMANDS = Path(__file__).parents[2] / ".venv-flower" / "bin"
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}

needs_flower = pytest.mark.skipif(
    not (COMMANDS / "flower-superlink").exists(), reason="Flower's environment is not there: make flower"
)


@dataclass(frozen=True)
class Certificates:
    """A certificate authority and what it has signed for this machine's loopback, made by openssl in a folder."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> "Certificates":
        folder.mkdir()
        key, days = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"], ["-days", "2"]
        authority = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for command in (
            ["req", "-x509", *key, *days, "-subj", "/CN=an authority", "-keyout", "ca.key", "-out", "ca.crt"],
            ["req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"],
            ["x509", "-req", "-in", "server.csr", *authority, *days, "-out", "server.pem"],
        ):
            subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
        return cls(folder)

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    def key_of(self, name: str, kind: str = "ecdsa") -> str:
        """Make the key of a node, as the guide does; PATH.pub is the public one."""
        path, size = self[f"{name}.key"], ["-b", "384"] if kind == "ecdsa" else []
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", name, "-f", path], check=True)
        return path


class Flower:
    """The processes, by name; ``link`` is the SuperLink.

    Args:
        folder: where the nodes' data, stores and logs are.
        certificates: what encrypts; None for none.
        at: the port that nodes reach, where it is not the SuperLink's own.
    """

    def __init__(self, folder: Path, certificates: Certificates | None = None, at: int | None = None) -> None:
        self.folder, self.port, self.certificates = folder, free_port(), certificates
        self.at = self.port if at is None else at
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_link(self) -> None:
        """Start the SuperLink."""
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        found = self.certificates
        secured = ["--insecure"]
        if found is not None:
            secured = ["--ssl-certfile", found["server.pem"], "--ssl-keyfile", found["server.key"]]
            secured += ["--ssl-ca-certfile", found["ca.crt"], "--enable-supernode-auth"]
        self._start("link", ["flower-superlink", *secured, *place, "--disable-runtime-dependency-installation"])

    def start_node(self, name: str, secured: Sequence[str] = ("--insecure",), more: Sequence[str] = ()) -> None:
        """Start a node with a store of its own; NAME.csv is its data, and written where there is none."""
        data = self.folder / f"{name}.csv"
        if not data.exists():
            shard(tiny_dataset(), data, SHARDS.get(name, range(12)))
        told = f'name="{name}" data="{data}" store="{self.folder / name}"'
        place = ["--superlink", f"127.0.0.1:{self.at}", "--host", "127.0.0.1", "--port", str(free_port())]
        self._start(name, ["flower-supernode", *secured, *place, "--node-config", told, *more])

    def _start(self, name: str, command: Sequence[str]) -> None:
        """Start one of them, in a group of its own."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    @property
    def environment(self) -> Mapping[str, str]:
        """What Flower's commands are run with."""
        home = self.folder / "home"
        return {**os.environ, **QUIET, "PATH": f"{COMMANDS}:{os.environ['PATH']}", "FLWR_HOME": str(home)}

    def ask(self, *command: str, port: int | None = None) -> dict:
        """Run a command of ``flwr`` on the SuperLink, or on what is at another port, as any caller could."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        at = f'address = "127.0.0.1:{self.port if port is None else port}"'
        how = "insecure = true" if self.certificates is None else f'root-certificates = "{self.certificates["ca.crt"]}"'
        (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n[superlink.here]\n{at}\n{how}\n')
        done = subprocess.run(
            ["flwr", *command, "--format", "json"], capture_output=True, text=True, env=self.environment, check=False
        )
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {"success": False, "said": done.stdout + done.stderr}

    def online(self) -> list[str]:
        """The numbers of the nodes that the SuperLink counts as there."""
        return [each["node-id"] for each in self.ask("supernode", "list")["nodes"] if each["status"] == "online"]

    def log(self, name: str) -> str:
        """What one of them has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def courier(self, certificates: Path | None = None) -> FlowerCourier:
        """What a trainer reaches the nodes by."""
        settings = FlowerSettings(
            superlink=f"127.0.0.1:{self.port}", flower_env=COMMANDS.parent, superlink_certificates=certificates
        )
        return FlowerCourier(settings)

    def kill(self, name: str) -> None:
        """Kill one of them, and whatever it has started, without a word."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):  # it has ended, and all that it started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def flower(folder: Path, certificates: Certificates | None = None, at: int | None = None) -> Iterator[Flower]:
    """Start a SuperLink, and leave nothing behind of what is started beside it."""
    running = Flower(folder, certificates, at)
    try:
        running.start_link()
        yield running
    finally:
        for name in list(running.processes):
            running.kill(name)
