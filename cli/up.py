"""``fedmem up``: the whole product on this machine, as child processes that end together."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode

import typer

from cli.options import DatabaseUrl, FirstJob, ServiceDir, runs_in
from cli.processes import ServiceError, Services
from cli.service_log import kept_in
from cli.training import stop_on_interrupt
from fedmem.errors import BucketError, ConfigError, StorageError
from fedmem.logs import EXTRA, log_to_stderr
from fedmem.sockets import bound_socket

if TYPE_CHECKING:
    from fedmem.storage.jobs import JobStore

LOG = logging.getLogger(__name__)

FOLLOWED = 3  # newest jobs whose log lines are shown
START = 120.0  # seconds that the backend has to answer


@dataclass(frozen=True)
class Address:
    """Where a service listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """For a browser on this machine."""
        return f"http://{'127.0.0.1' if self.host in ('0.0.0.0', '::') else self.host}:{self.port}"


def up(
    port: Annotated[int, typer.Option(envvar="FEDMEM_PORT", min=1, max=65535, help="Port of the API.")] = 8000,
    dashboard_port: Annotated[
        int, typer.Option(envvar="FEDMEM_DASHBOARD_PORT", min=1, max=65535, help="Port of the dashboard.")
    ] = 8501,
    data_dir: ServiceDir = Path("runs/service"),
    database_url: DatabaseUrl = None,
    train: FirstJob = True,
) -> None:
    """Start the whole product on this machine: trainer, API and dashboard, with the demo in an empty database."""
    from fedmem.storage.engine import DEFAULT_URL

    api, board = Address("127.0.0.1", port), Address("127.0.0.1", dashboard_port)
    run_up(api, board, data_dir, database_url or DEFAULT_URL, train=train)


def run_up(backend: Address, dashboard: Address, data_dir: Path, database_url: str, *, train: bool) -> None:
    """Migrate, fill an empty database with the demo, start the services, queue a first job, and wait for Ctrl-C."""
    from cli.preparing import prepare

    if backend.port == dashboard.port:
        raise ConfigError(f"--port and --dashboard-port are both {backend.port}; choose two")
    for address, option in ((backend, "--port"), (dashboard, "--dashboard-port")):
        refuse_taken(address, option)
    if not sys.stderr.isatty():
        log_to_stderr("up")
    with suppress(BucketError):  # what may pass: the services wait for it
        runs_in(data_dir).check()
    prepare(data_dir, database_url, train=train)
    with kept_in(data_dir / "logs" / "up.log"):
        _serve(backend, dashboard, data_dir, database_url)
        LOG.info("all services have ended; fedmem up starts them again where they were")


def refuse_taken(address: Address, option: str) -> None:
    """Raise ConfigError if an address is already taken."""
    try:
        bound_socket(address.host, address.port).close()
    except OSError as error:
        raise ConfigError(
            f"port {address.port} of {address.host} cannot be used ({error.strerror}). "
            f"Stop what listens there, or choose another {option}."
        ) from None


def _serve(backend: Address, dashboard: Address, data_dir: Path, database_url: str) -> None:
    from fedmem.storage.engine import connect
    from fedmem.storage.jobs import JobStore

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


@contextmanager
def _services(folder: Path) -> Iterator[Services]:
    services = Services(folder)
    try:
        yield services
    finally:
        services.end()


def _wait_until_it_answers(backend: Address, services: Services, stopping: Sequence[bool]) -> None:
    import httpx

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
    LOG.info("FedMem is up; Ctrl-C ends it")
    LOG.info("  dashboard  %s", dashboard.url)
    LOG.info("  API        %s/docs", backend.url)
    LOG.info("  logs       %s", services.folder)


def _follow(jobs: "JobStore", backend: Address, services: Services, stopping: Sequence[bool]) -> None:
    """Show the newest jobs' log lines as they come, until Ctrl-C; a database that is away is asked again."""
    began, shown, said = time.time(), dict[int, int](), False
    while not stopping:
        services.check()
        with contextlib.suppress(StorageError):
            _show_news(jobs, began, shown)
        said = said or _say_how_to_ask(backend)
        time.sleep(0.5)


def _say_how_to_ask(backend: Address) -> bool:
    """Print, once a model is in service, a request that it answers; say whether there was one."""
    import httpx

    with contextlib.suppress(httpx.HTTPError, LookupError):
        ready = httpx.get(f"{backend.url}/health/ready", timeout=2)
        if ready.is_success:
            LOG.info("a model is in service: %s", request_of(backend, ready.json()))
            return True
    return False


def request_of(backend: Address, ready: Mapping[str, Any]) -> str:
    """Write a request with what it needs here: a data set where several serve, a key where reading needs one."""
    import httpx

    dataset = ready["dataset"] or ready["in_service"][0]["dataset"]
    named = {} if ready["dataset"] else {"dataset": dataset}
    key = {"X-API-Key": os.environ.get("FEDMEM_API_KEY", "")}
    answer = httpx.get(f"{backend.url}/users", params={"limit": 1, "dataset": dataset}, headers=key, timeout=2)
    user = answer.json()["users"][0]["user_id"] if answer.is_success else "USER"
    open_to_all = httpx.get(f"{backend.url}/datasets", timeout=2).is_success
    header = "" if open_to_all else " -H 'X-API-Key: ...'"
    return f"curl{header} '{backend.url}/recommend/{quote(user)}?{urlencode(named | {'k': 5})}'"


def _show_news(jobs: "JobStore", began: float, shown: dict[int, int]) -> None:
    for job in reversed(jobs.page(limit=FOLLOWED)):
        for line in jobs.logs(job.id, after_id=shown.get(job.id, 0)):
            shown[job.id] = line.id
            if line.time >= began:
                said = {"job": job.id, "dataset": job.dataset}
                LOG.info("job %d: %s", job.id, line.message, extra={EXTRA: said})
