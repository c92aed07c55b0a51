"""Services as child processes: started, started again if they die, ended together."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from cli.screen import notes
from fedmem.errors import FedMemError

RESTARTS = 3  # of one service, before all end
CANNOT_START = 2  # the exit code of a service whose settings are wrong
GRACE = 60.0  # seconds that a service has to end


class ServiceError(FedMemError):
    """A service of ``fedmem up`` has ended by itself or does not answer."""


@dataclass
class Service:
    """A child process, what started it, and the file that takes its output."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    environment: dict[str, str]
    restarts: int = 0


@dataclass
class Services:
    """The child processes of one product, in the order of their start."""

    folder: Path
    running: list[Service] = field(default_factory=list)

    def start(self, name: str, **environment: str) -> None:
        """Start ``python -m name``, and restart it if it dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        self.running.append(Service(name, _process(name, environment, log), log, environment))

    def check(self) -> None:
        """Start again what has died; ServiceError if that happens too often, or at once."""
        for service in self.running:
            if (code := service.process.poll()) is None:
                continue
            last = "".join(f"\n  {line}" for line in _last_lines(service.log))
            what = f"the {service.name} has ended with exit code {code}; see {service.log}"
            if code == CANNOT_START or service.restarts == RESTARTS:
                raise ServiceError(f"{what}{last}")
            notes.print(f"{what}; it is started again{last}")
            service.restarts += 1
            service.process = _process(service.name, service.environment, service.log)

    def end(self) -> None:
        """Send SIGTERM to all, then SIGKILL to those that take longer than the grace period."""
        for service in self.running:
            service.process.terminate()
        deadline = time.monotonic() + GRACE
        for service in self.running:
            try:
                service.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                notes.print(f"the {service.name} did not end within {GRACE:.0f} seconds and is killed")
                service.process.kill()
                service.process.wait()


def _process(name: str, environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """Start ``python -m name`` in a session of its own, so that a terminal's Ctrl-C reaches the parent alone."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", name],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _last_lines(path: Path, count: int = 3) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        return []
