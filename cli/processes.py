"""Services as child processes: started, started again if they die, ended together."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cli.service_log import ServiceLog, in_short
from fedmem.errors import FedMemError

LOG = logging.getLogger(__name__)

PAUSES = 1.0, 60.0  # seconds before a service is started again: the first time, and at most
STEADY = 30.0  # seconds after which a service that ran counts as well again
CANNOT_START = 2  # the exit code of a service whose settings are wrong
GRACE = 60.0  # seconds that a service has to end
LAST_WORDS = 1.0  # seconds that what an ended one has said has to reach its file


class ServiceError(FedMemError):
    """A service of ``fedmem up`` has ended by itself or does not answer."""


@dataclass
class Service:
    """A child process, what started it, and the files that take its output, of which ``log`` is the newest."""

    name: str
    process: "subprocess.Popen[bytes]"
    said: ServiceLog
    log: Path
    environment: dict[str, str]
    clock: Callable[[], float] = time.monotonic
    deaths: int = 0  # in a row
    started: float = 0.0
    again_at: float | None = None  # when it is started again; None while it runs

    def __post_init__(self) -> None:
        self.started = self.clock()

    def died(self) -> float:
        """Note a death, and return the seconds until the next start, which double with each in a row."""
        steady = self.clock() - self.started > STEADY
        self.deaths = 1 if steady else self.deaths + 1
        pause = min(PAUSES[0] * 2.0 ** min(self.deaths - 1, 10), PAUSES[1])
        self.again_at = self.clock() + pause
        return pause

    def start_again(self) -> None:
        """Start what has died."""
        (self.process, self.said), self.again_at = _process(self.name, self.environment, self.log), None
        self.started = self.clock()

    def cannot_start(self, code: int) -> bool:
        """Say whether its settings are wrong, by its first end: what ran before is started again whatever it says."""
        return code == CANNOT_START and not self.deaths and self.clock() - self.started < STEADY


@dataclass
class Services:
    """The child processes of one product, in the order of their start."""

    folder: Path
    running: list[Service] = field(default_factory=list)

    def start(self, name: str, **environment: str) -> None:
        """Start ``python -m name``, and restart it if it dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        self.running.append(Service(name, *_process(name, environment, log), log, environment))

    def check(self) -> None:
        """Start again what has died, after pauses that grow; ServiceError if a service's settings are wrong."""
        for service in self.running:
            if service.again_at is not None:
                if service.clock() >= service.again_at:
                    service.start_again()
            elif (code := service.process.poll()) is not None:
                _note_death(service, code)

    def end(self) -> None:
        """Send SIGTERM to all, then SIGKILL to those that take longer than the grace period."""
        for service in self.running:
            service.process.terminate()
        deadline = time.monotonic() + GRACE
        for service in self.running:
            try:
                service.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                LOG.warning("the %s did not end within %.0f seconds and is killed", service.name, GRACE)
                service.process.kill()
                service.process.wait()
            service.said.wait(LAST_WORDS)


def _note_death(service: Service, code: int) -> None:
    service.said.wait(LAST_WORDS)
    last = "".join(f"\n  {in_short(line)}" for line in _last_lines(service.log))
    what = f"the {service.name} has ended with exit code {code}; see {service.log}"
    if service.cannot_start(code):
        raise ServiceError(f"{what}{last}")
    LOG.error("%s; it is started again in %.0f s%s", what, service.died(), last)


def _process(name: str, environment: dict[str, str], log: Path) -> "tuple[subprocess.Popen[bytes], ServiceLog]":
    """Start ``python -m name`` in a session of its own, so that a terminal's Ctrl-C reaches the parent alone."""
    process = subprocess.Popen(
        [sys.executable, "-m", name],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    return process, ServiceLog(process.stdout, log)


def _last_lines(path: Path, count: int = 3) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        return []
