"""The product on this machine for a benchmark: a database, a folder of checkpoints, and services as child processes."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import migrations
from fedmem.data.demo import write_demo
from fedmem.data.formats import read_dataset
from fedmem.data.interactions import Interactions, Item
from fedmem.errors import FedMemError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow
from fedmem.storage.engine import connect

ROOT = Path(__file__).parents[1]
PATIENCE = 180.0  # seconds that a service has for anything
GRACE = 20.0
DEMO = "demo"
# The demo's own configuration, for as long as it is let.
ENDLESS: dict[str, Any] = {
    "features": {"image_model_name": "descriptor"},
    "federated": {"num_rounds": 1_000_000, "patience": 1_000_000},
    "ablation": {"disable_moe": False},
}


class BenchmarkError(FedMemError):
    """The product did not do what was to be measured."""


@dataclass
class Service:
    """A child process, in a group of its own with whatever it starts."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def halt(self) -> None:
        """Let it stand still, as if it were not there."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def check(self) -> None:
        """Raise BenchmarkError if it has ended."""
        if (code := self.process.poll()) is not None:
            last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            raise BenchmarkError(f"the {self.name} has ended with exit code {code}: " + " | ".join(last))

    def end(self) -> None:
        """Ask it to end, and kill it where it does not."""
        if self.process.poll() is not None:
            return
        self.go_on()
        self.process.terminate()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of its threads so far, user and system; its own children are not counted.

        Raises:
            BenchmarkError: where there is no /proc.
        """
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        except OSError:
            raise BenchmarkError(f"the {self.name}'s CPU time is read from /proc, which is not there") from None
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float | None:
        """Return its memory, or None if there is no /proc."""
        return resident_mib(self.process.pid)


@dataclass
class Product:
    """One database, one folder of checkpoints, and what runs on them."""

    folder: Path
    port: int
    running: list[Service] = field(default_factory=list)

    @property
    def database_url(self) -> str:
        """An SQLite file."""
        return f"sqlite:///{self.folder / 'fedmem.db'}"

    @property
    def data_dir(self) -> Path:
        """Where the checkpoints are."""
        return self.folder / "data"

    @property
    def client(self) -> httpx.Client:
        """For what is not measured."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=PATIENCE)

    def start(self, module: str, *arguments: str, **more: str) -> Service:
        """Start ``python -m module`` with this product's settings, and ``more``."""
        log = self.folder / f"{module}.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FEDMEM_") or "CACHE" in name}
        settings = {
            "DATABASE_URL": self.database_url,
            "FEDMEM_DATA_DIR": str(self.data_dir),
            "FEDMEM_PORT": str(self.port),
            "PYTHONPATH": str(ROOT),
        }
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.folder,
                env=kept | settings | more,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.running.append(Service(module, process, log))
        return self.running[-1]

    def wait(self, happened: Callable[[], Any], what: str, every: float = 0.1, patience: float = PATIENCE) -> None:
        """Wait until it has happened; BenchmarkError if it does not, or if a service ends."""
        deadline = time.monotonic() + patience
        while not happened():
            for service in self.running:
                service.check()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"in vain for {patience:.0f} seconds: {what}")
            time.sleep(every)

    def answers(self, path: str) -> bool:
        """Say whether the backend answers this path with 2xx."""
        try:
            with self.client as client:
                return client.get(path).is_success
        except httpx.TransportError:
            return False

    def store(self, name: str, interactions: Interactions, items: list[Item]) -> None:
        """Put a data set into the database."""
        columns = InteractionColumns(interactions.users, interactions.items, interactions.timestamps.astype(np.float64))
        paths = [None if item.image_path is None else str(item.image_path.absolute()) for item in items]
        rows = [
            ItemRow(i.item_id, i.title, i.genres, i.year, path, i.text) for i, path in zip(items, paths, strict=True)
        ]
        engine = connect(self.database_url)
        CatalogueStore(engine).write(name, "the benchmark", columns, rows)
        engine.dispose()

    def store_demo(self, name: str = DEMO, seed: int = 42, num_users: int = 500) -> None:
        """Store the embedded demo, or one made of another seed or size."""
        interactions, items = read_dataset(write_demo(self.data_dir / name, seed=seed, num_users=num_users))
        self.store(name, interactions.without_duplicates(), items)

    def queue_demo(self, name: str = DEMO) -> int:
        """Queue an endless job on the demo, or one like it."""
        with self.client as client:
            return int(client.post("/jobs", json={"dataset": name, "config": ENDLESS}).raise_for_status().json()["id"])

    def rounds(self, job: int) -> int:
        """Return how many rounds a job has completed."""
        with self.client as client:
            return int(client.get(f"/jobs/{job}").raise_for_status().json()["round"])


@contextmanager
def product() -> Iterator[Product]:
    """Make a migrated database in a folder of its own; all services end with the block."""
    with tempfile.TemporaryDirectory(prefix="fedmem-bench-") as folder:
        made = Product(Path(folder), free_port())
        made.data_dir.mkdir()
        migrations.upgrade(made.database_url)
        try:
            yield made
        finally:
            for service in reversed(made.running):
                service.end()


def resident_mib(pid: int) -> float | None:
    """Return the memory of a process, or None if there is no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return None if found is None else int(found[1]) / 1024


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
