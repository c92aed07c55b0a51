"""Ray itself: reached by the process's settings, or started for a run and ended with it."""

import importlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from fedmem.errors import ConfigError
from fedmem.service_settings import ServiceSettings

LOCAL = "local"
REACHING = 10.0  # seconds until a cluster has to take a connection
QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}


class RaySettings(ServiceSettings):
    """How a trainer reaches Ray, for jobs with engine = ray; not a job's setting, since a cluster runs its code."""

    ray_address: str = Field(
        LOCAL,
        pattern=r"^(local|auto|\S+:\d+)$",
        description="HOST:PORT of the Ray cluster that jobs with engine = ray train on; `auto` is the one that this "
        "machine belongs to, and `local` one for each job, on this machine, that ends with it.",
    )


class Cluster:
    """Ray, as long as a run uses it; one that the process has begun itself is taken, and left as it was.

    Args:
        processors: how many a cluster has that is started here.

    Attributes:
        ray: Ray's module.
        local: whether it was started here.

    Raises:
        ConfigError: if Ray is not installed, or cannot be reached.
    """

    def __init__(self, processors: int) -> None:
        address = RaySettings.load().ray_address
        self.ray = _ray(address)
        self.local = False
        self._begun = not self.ray.is_initialized()
        self._folder: Path | None = None
        if self._begun:
            with _handlers_stay():
                self._begin(address, processors)

    def _begin(self, address: str, processors: int) -> None:
        try:
            if address == LOCAL:
                self._start(processors)
            else:
                _check_port(address)
                self.ray.init(address, **QUIET)
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            self.end()
            raise ConfigError(f"FEDMEM_RAY_ADDRESS = {address}: Ray is not reached there ({error})") from None

    def _start(self, processors: int) -> None:
        self.local, self._folder = True, Path(tempfile.mkdtemp(prefix="fedmem-ray-"))  # short: sockets are in it
        self.ray.init(LOCAL, num_cpus=processors, include_dashboard=False, _temp_dir=str(self._folder), **QUIET)

    def end(self) -> None:
        """Leave Ray, and end what was started here."""
        if self._begun:
            self.ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _ray(address: str) -> Any:
    """Import Ray, which looks at its environment then.

    It tells its makers nothing. One that is started here can be reached from other machines, for it knows no loopback,
    and does only what bears a token that this process and its children have.

    Raises:
        ConfigError: if it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == LOCAL and "ray" not in sys.modules:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise ConfigError(
            "engine = ray needs Ray, which is not installed: .venv/bin/pip install -c constraints.txt -e '.[ray]'"
        ) from None


def _check_port(address: str) -> None:
    """Raise OSError if nothing listens there; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if port:
        socket.create_connection((host, int(port)), REACHING).close()


@contextmanager
def _handlers_stay() -> Iterator[None]:
    """Take back what Ray does to the signals by which this process is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
