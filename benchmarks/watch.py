"""What the product's services and folders take while a benchmark runs."""

import re
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.attack_jobs import children_of
from benchmarks.product import BenchmarkError, Product
from fedmem.storage.job_removal import size_of

SERVICES = ("backend", "trainer", "dashboard")
EVERY = 5.0  # seconds between two samples
ERROR_LINE = re.compile(r'"level": "(?:ERROR|CRITICAL)"|^\S+ \S+ (?:ERROR|CRITICAL) ')
MIB = 2**20


@dataclass
class Watch:
    """Samples the memory of the services of a ``fedmem up``, and measures its folders when asked.

    Attributes:
        made: the product; ``fedmem up`` is the first that runs of it.
        cache: the folder of the encoders' cache.
    """

    made: Product
    cache: Path
    ending: threading.Event = field(default_factory=threading.Event)
    processes: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    _samples: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    _error_lines: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Sample until it is told to end."""
        while not self.ending.wait(EVERY):
            self.sample()

    def sample(self) -> None:
        """Read what each service takes now."""
        for service in SERVICES:
            for pid in children_of(self.made.running[0].process.pid, service):
                self.processes[service].add(pid)
                self._samples[service].append(memory_mib(pid))

    def memory(self) -> dict[str, dict[str, float]]:
        """Return the greatest PSS and RSS of each service since the last time, in MiB."""
        self.sample()
        taken, self._samples = self._samples, defaultdict(list)
        return {
            service: {"pss": round(max(pss for pss, _ in found), 1), "rss": round(max(rss for _, rss in found), 1)}
            for service, found in taken.items()
        }

    def disk(self) -> dict[str, float]:
        """Measure what lies on the disk, in MiB."""
        database = sum(file.stat().st_size for file in self.made.folder.glob("fedmem.db*"))
        folders = {"jobs": self.made.data_dir / "jobs", "logs": self.made.data_dir / "logs", "cache": self.cache}
        return {"database": round(database / MIB, 1)} | {
            name: round(size_of(folder) / MIB, 1) for name, folder in folders.items()
        }

    def new_errors(self) -> Counter[str]:
        """Return the services' log lines of the level ERROR that came since the last time."""
        found = set()
        for file in (self.made.data_dir / "logs").glob("*.log*"):
            with file.open(encoding="utf-8", errors="replace") as lines:
                found |= {f"{file.name.partition('.')[0]}: {line.strip()}" for line in lines if ERROR_LINE.search(line)}
        new = found - self._error_lines
        self._error_lines |= found
        return Counter(new)

    def restarts(self) -> Counter[str]:
        """Count the services that ended and were started again."""
        return (
            Counter({f"{name} was started again": len(pids) - 1 for name, pids in self.processes.items()}) + Counter()
        )


def memory_mib(pid: int) -> tuple[float, float]:
    """Read a process's PSS and RSS.

    Raises:
        BenchmarkError: where there is no /proc.
    """
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        raise BenchmarkError(f"the memory of process {pid} is read from /proc, which is not there") from None
    pss, rss = (re.search(rf"^{name}:\s+(\d+) kB", told, re.MULTILINE) for name in ("Pss", "Rss"))
    assert pss is not None, told
    assert rss is not None, told
    return int(pss[1]) / 1024, int(rss[1]) / 1024
