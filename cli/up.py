"""``fedmem up``: the whole product on this machine, as child processes that end together."""

import contextlib
import fcntl
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx

from cli.screen import notes, stages
from cli.training import stop_on_interrupt
from fedmem.config import validate_config
from fedmem.errors import ConfigError, FedMemError, StorageError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore

logger = logging.getLogger(__name__)

DEMO = "demo"
DEMO_CHANGES = {"features": {"image_model_name": "descriptor"}, "federated": {"num_rounds": 150}}  # configs/demo.yaml
RESTARTS = 3  # of one service, before all end
CANNOT_START = 2  # the exit code of a service whose settings are wrong
FOLLOWED = 3  # newest jobs whose log lines are shown
GRACE = 60.0  # seconds that a service has to end
START = 120.0  # seconds that the backend has to answer


class ServiceError(FedMemError):
    """A service of ``fedmem up`` has ended by itself or does not answer."""


@dataclass(frozen=True)
class Address:
    """Where a service listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """For a browser on this machine."""
        return f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}"


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
        """``python -m name``, started again if it should die."""
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
        """SIGTERM to all, then SIGKILL to whoever takes longer than the grace."""
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
    """``python -m name`` in a session of its own, so that a terminal's Ctrl-C reaches the parent alone."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", name],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def run_up(backend: Address, dashboard: Address, data_dir: Path, database_url: str, *, train: bool) -> None:
    """Migrate, fill an empty database with the demo, start the services, queue a first job, and wait for Ctrl-C."""
    if backend.port == dashboard.port:
        raise ConfigError(f"--port and --dashboard-port are both {backend.port}; choose two")
    for address, option in ((backend, "--port"), (dashboard, "--dashboard-port")):
        refuse_taken(address, option)
    prepare(data_dir, database_url, train=train)
    jobs = JobStore(connect(database_url))
    with stop_on_interrupt() as stopping, _services(data_dir / "logs") as services:
        shared = {"DATABASE_URL": database_url, "FEDMEM_DATA_DIR": str(data_dir)}
        services.start("backend", **shared, FEDMEM_HOST=backend.host, FEDMEM_PORT=str(backend.port))
        services.start("trainer", **shared)
        services.start(
            "dashboard",
            FEDMEM_API_URL=backend.url,
            FEDMEM_DASHBOARD_HOST=dashboard.host,
            FEDMEM_DASHBOARD_PORT=str(dashboard.port),
        )
        _wait_until_it_answers(backend, services, stopping)
        if not stopping:
            _say_where(backend, dashboard, services)
        _follow(jobs, backend, services, stopping)
    notes.print("all services have ended; fedmem up starts them again where they were")


def refuse_taken(address: Address, option: str) -> None:
    """ConfigError where something listens at an address already."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise ConfigError(
                f"port {address.port} of {address.host} cannot be used ({error.strerror}). "
                f"Stop what listens there, or choose another {option}."
            ) from None


def prepare(data_dir: Path, database_url: str, *, train: bool) -> None:
    """Bring the database to this version's schema, and give a newcomer's something to see.

    Args:
        data_dir: for the demo's pictures.
        database_url: if it holds no data set, the demo is put in it.
        train: whether to queue a training job on the demo, if it is there and no job ever was.
    """
    import migrations

    with one_at_a_time(data_dir):
        migrations.upgrade(database_url)
        engine = connect(database_url)
        catalogue, jobs = CatalogueStore(engine), JobStore(engine)
        if not catalogue.datasets():
            put_demo(catalogue, data_dir / DEMO)
        if train and DEMO in {row.name for row in catalogue.datasets()} and not jobs.page(limit=1):
            queue_first_job(jobs)
        engine.dispose()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Whoever prepares the same folder at the same time waits for the first."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".preparing").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except PermissionError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); choose another --data-dir") from None


def put_demo(catalogue: CatalogueStore, folder: Path) -> None:
    """Make the demo catalogue and bring it into the database."""
    from cli.importing import import_dataset
    from fedmem.data.demo import write_demo
    from fedmem.data.formats import read_dataset

    notes.print("the database is empty: making the demo catalogue")
    with stages() as progress:
        write_demo(folder, progress=lambda done, total: progress("drawing covers", done, total))
        import_dataset(catalogue, DEMO, folder, *read_dataset(folder), progress)


def queue_first_job(jobs: JobStore) -> None:
    """A training job on the demo, so that there is something to see."""
    config = validate_config(DEMO_CHANGES, "the demo's configuration")
    jobs.create(
        kind="training",
        dataset=DEMO,
        config=config.model_dump(mode="json"),
        num_rounds=config.federated.num_rounds,
        idempotency_key="the first job of fedmem up",
    )


@contextmanager
def _services(folder: Path) -> Iterator[Services]:
    services = Services(folder)
    try:
        yield services
    finally:
        services.end()


def _wait_until_it_answers(backend: Address, services: Services, stopping: Sequence[bool]) -> None:
    deadline = time.monotonic() + START
    while not stopping:
        services.check()
        try:
            if httpx.get(f"{backend.url}/health/live", timeout=2).is_success:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise ServiceError(f"the backend does not answer at {backend.url} after {START:.0f} seconds")
        time.sleep(0.2)


def _say_where(backend: Address, dashboard: Address, services: Services) -> None:
    notes.print("FedMem is up; Ctrl-C ends it")
    notes.print(f"  dashboard  {dashboard.url}")
    notes.print(f"  API        {backend.url}/docs")
    notes.print(f"  logs       {services.folder}")


def _follow(jobs: JobStore, backend: Address, services: Services, stopping: Sequence[bool]) -> None:
    """Show the newest jobs' log lines as they come, until Ctrl-C; a database that is away is asked again."""
    began, shown, said = time.time(), dict[int, int](), False
    while not stopping:
        services.check()
        with contextlib.suppress(StorageError):
            _show_news(jobs, began, shown)
        said = said or _say_how_to_ask(backend)
        time.sleep(0.5)


def _say_how_to_ask(backend: Address) -> bool:
    """Once a model is in service, a request that it answers; whether there was one."""
    with contextlib.suppress(httpx.HTTPError, LookupError):
        if httpx.get(f"{backend.url}/health/ready", timeout=2).is_success:
            user = httpx.get(f"{backend.url}/users", params={"limit": 1}, timeout=2).json()["users"][0]["user_id"]
            notes.print(f"a model is in service: curl '{backend.url}/recommend/{quote(user)}?k=5'")
            return True
    return False


def _show_news(jobs: JobStore, began: float, shown: dict[int, int]) -> None:
    for job in reversed(jobs.page(limit=FOLLOWED)):
        for line in jobs.logs(job.id, after_id=shown.get(job.id, 0)):
            shown[job.id] = line.id
            if line.time >= began:
                notes.print(f"job {job.id}: {line.message}")


def _last_lines(path: Path, count: int = 3) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        return []
