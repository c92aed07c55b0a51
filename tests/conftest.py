"""What every test shares: one thread, a feature cache of its own, and the real data where it is present."""

import gc
import itertools
import os
import signal
import sys
import tempfile

# Before torch is imported anywhere, subprocesses included: its threads under contention cost a factor of five.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# No test asks a site that has a certificate, and reading those of the machine takes each HTTP client 25 ms.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.path.dirname(__file__)
# Before the command line's consoles are made, which look once how wide they are.
os.environ["COLUMNS"] = "200"

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Or each process that a test starts would compile the whole product anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A shell that starts the tests in the background lets them ignore Ctrl-C, and what they start and interrupt would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Until the tests are collected: what is imported is kept, and looking for garbage in it takes a fifth of the time.
gc.disable()

MEMORY, ENOUGH = "/dev/shm", 4 << 30


def in_memory() -> bool:
    """Say whether files may be kept in memory: there is room for them, and scripts among them can be run."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:  # not Linux
        return False
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize > ENOUGH


# Nothing of a test is needed after a power cut: where memory holds its files, no write waits for the disk.
if "TMPDIR" not in os.environ and in_memory():
    os.environ["TMPDIR"] = tempfile.tempdir = MEMORY

pytest_plugins = ["tests.databases", "tests.own_logging", "tests.s3"]

ROOT = Path(__file__).resolve().parents[1]
LONGEST = ("end_to_end", "benchmarks", "federated", "extending", "dashboard", "test_experiment.py", "backend", "cli")

# No deadline, because the machine may be busy; derandomised, because a failure must be there again tomorrow.
settings.register_profile("fedmem", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("fedmem")


def pytest_xdist_auto_num_workers() -> int:
    """Half as many processes again as the machine has processors, because services and browsers are waited for."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes, let none begin at the end what takes longest: real services, browsers and whole runs."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    if hasattr(config, "workerinput"):
        items.sort(key=place)


def pytest_collection_finish() -> None:
    """From here on there is garbage, but not among what has been imported."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; the test is skipped where it is absent."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"real data sets are not present: no folder {os.path.relpath(path, ROOT)} beside the checkout")
    return path.resolve()  # the folder may be linked


@pytest.fixture(scope="session", autouse=True)
def feature_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One feature cache for the whole session, so that no text is encoded twice and the user's own is not touched."""
    path = tmp_path_factory.mktemp("feature-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDMEM_CACHE_DIR", str(path))
        yield path


@pytest.fixture(autouse=True)
def environment_as_it_was() -> Iterator[None]:
    """What a test's ``.env`` puts into the environment goes with the test, and so does a command's umask."""
    before, umask = dict(os.environ), os.umask(0o022)
    os.umask(umask)
    yield
    os.umask(umask)
    for name in os.environ.keys() - before.keys():
        if name.startswith("FEDMEM_") or name == "DATABASE_URL":
            del os.environ[name]


@pytest.fixture
def followed_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who follows checkpoints to those that they build on, in a circle say, fails in the end instead of going on."""
    from fedmem.checkpoint.checkpoints import Checkpoints

    base_of, asked = Checkpoints.base_of, itertools.count()

    def counted(self: Checkpoints, number: int) -> int | None:
        assert next(asked) < 1000, "a circle is followed without end"
        return base_of(self, number)

    monkeypatch.setattr(Checkpoints, "base_of", counted)
