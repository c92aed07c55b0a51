"""FlowerCourier: letters by a Flower SuperLink, through the ``ServerApp`` that this process has it run.

Flower lives in an environment of its own, because it pins libraries lower. The rounds stay here: the app connects back
to a socket in a folder that only this user can open, and carries letters.
"""

import json
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

from fedmem.errors import ConfigError
from fedmem.interruption import heed
from fedmem.nodes.flower_settings import FlowerSettings
from fedmem.nodes.letter import Letter

logger = logging.getLogger(__name__)

LOOK = 0.2  # seconds from one look whether to go on to the next
CONNECTING = 60.0  # seconds until an app that was submitted has to be there
AGAIN = 5.0  # seconds from one try to reach a SuperLink to the next

PROJECT = """
[project]
name = "fedmem-nodes"
version = "1.0.0"

[tool.flwr.app]
publisher = "fedmem"

[tool.flwr.app.components]
serverapp = "fedmem_nodes.server_app:app"
clientapp = "fedmem_nodes.client_app:app"

[tool.flwr.app.config]
socket = ""
"""
# What is sent to the nodes has names alone: they run the code that is installed there.
MODULE = """from fedmem.nodes.flower import {name}

app = {name}.app
"""


@dataclass(eq=False)
class FlowerCourier:
    """Letters by a SuperLink; what it has run for this courier is submitted anew when the connection ends.

    Attributes:
        settings: where Flower is.
    """

    settings: FlowerSettings
    _folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="fedmem-flower-")))
    _listener: socket | None = None
    _app: Connection | None = None
    _tried: float = 0.0

    @classmethod
    def from_environment(cls) -> "FlowerCourier":
        """Find Flower by the process's settings.

        Raises:
            ConfigError: if its environment is not there, or a setting is wrong.
        """
        settings = FlowerSettings.load()
        if not (settings.flower_env / "bin" / "flwr").exists():
            raise ConfigError(
                f"engine = flower needs Flower's environment, and {settings.flower_env} holds none: make it by "
                "`make flower`, or name it in FEDMEM_FLOWER_ENV"
            )
        return cls(settings)

    def nodes(self) -> Sequence[int]:
        """Tell which nodes the SuperLink knows; none while it is away."""
        try:
            app = self._connected()
            app.send_bytes(Letter({"ask": "nodes"}).to_bytes())
            return [int(number) for number in _received(app).facts["nodes"]]
        except (OSError, EOFError):
            self._hang_up()
            return []

    def exchange(self, letters: Mapping[int, Letter], patience: float) -> Iterator[tuple[int, Letter | str]]:
        """See ``Courier``."""
        waiting = set(letters)
        try:
            app = self._connected()
            asked = {"ask": "exchange", "nodes": [str(number) for number in letters], "patience": patience}
            for letter in (Letter(asked), *letters.values()):
                app.send_bytes(letter.to_bytes())
            while waiting:
                head = _received(app).facts
                number = int(head["node"])
                waiting.remove(number)
                yield number, head["reason"] or _received(app)
        except (OSError, EOFError):
            self._hang_up()
            yield from ((number, "the connection to the SuperLink ended") for number in waiting)
        except BaseException:  # answers that are still to come would be taken for later ones
            self._hang_up()
            raise

    def close(self) -> None:
        """Let the app end, and remove the working files."""
        self._hang_up()
        if self._listener is not None:
            self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _hang_up(self) -> None:
        if self._app is not None:
            self._app.close()
        self._app = None

    def _connected(self) -> Connection:
        """Return the connection to the app, which is submitted where none runs; OSError if it does not come."""
        if self._app is None:
            self._app = self._submitted()
        return self._app

    def _submitted(self) -> Connection:
        while time.monotonic() < self._tried + AGAIN:
            heed()
            time.sleep(LOOK)
        self._tried = time.monotonic()
        listener = self._listening()
        self._submit()
        deadline = time.monotonic() + CONNECTING
        while time.monotonic() < deadline:
            heed()
            try:
                return Connection(listener.accept()[0].detach())
            except TimeoutError:
                continue
        raise ConnectionError

    def _listening(self) -> socket:
        if self._listener is None:
            self._listener = socket(AF_UNIX, SOCK_STREAM)
            self._listener.bind(str(self._folder / "trainer"))
            self._listener.listen()
            self._listener.settimeout(LOOK)
        return self._listener

    def _submit(self) -> None:
        """Have the SuperLink run the app; ConnectionError if it is not there."""
        project = self._project()
        command = [self.settings.flower_env / "bin" / "flwr", "run", project, "fedmem", "--run-config"]
        command.append(f"socket={json.dumps(str(self._folder / 'trainer'))}")
        done = _run([*map(str, command), "--format", "json"], {"FLWR_HOME": str(self._folder / "home")})
        try:
            told = json.loads(done)
        except ValueError:
            told = {"error-message": done.strip()[-500:]}
        if not told.get("success"):
            reason = told.get("error-message", told)
            logger.warning("the SuperLink at %s does not take the app: %s", self.settings.superlink, reason)
            raise ConnectionError

    def _project(self) -> Path:
        """Write the app as Flower wants it, and how the SuperLink is reached."""
        package, home = self._folder / "app" / "fedmem_nodes", self._folder / "home"
        package.mkdir(parents=True, exist_ok=True)
        home.mkdir(exist_ok=True)
        (package.parent / "pyproject.toml").write_text(PROJECT)
        (package / "__init__.py").touch()
        for name in ("server_app", "client_app"):
            (package / f"{name}.py").write_text(MODULE.format(name=name))
        link = {"address": self.settings.superlink}
        lines = [f"{key} = {json.dumps(value)}" for key, value in link.items()]
        certificates = self.settings.superlink_certificates
        lines.append(
            "insecure = true"
            if certificates is None
            else f"root-certificates = {json.dumps(str(certificates.resolve()))}"
        )
        (home / "config.toml").write_text(
            "\n".join(["[superlink]", 'default = "fedmem"', "[superlink.fedmem]", *lines, ""])
        )
        return package.parent


def _received(app: Connection) -> Letter:
    while not app.poll(LOOK):
        heed()
    return Letter.from_bytes(app.recv_bytes())


def _run(command: list[str], more: Mapping[str, str]) -> str:
    """Run one of Flower's commands, which says nothing to others of it; a stop is heeded."""
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **quiet, **more}
    ) as process:
        try:
            while process.poll() is None:
                heed()
                time.sleep(LOOK)
        except BaseException:
            process.kill()
            raise
        assert process.stdout is not None
        return process.stdout.read()
