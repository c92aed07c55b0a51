"""CPU time of this process and of everything it started, daemons included. Linux only: it reads /proc."""

import ctypes
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make this process the parent of any descendant whose own parent ends, so that none leaves the tree."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


@dataclass(frozen=True)
class Reading:
    """The tree's CPU-seconds since its start by command name, ended children included, and the wall clock."""

    cpu: Counter[str]
    wall: float

    @classmethod
    def now(cls) -> "Reading":
        """Read all processes at once; a clock tick (10 ms) is the resolution for each."""
        processes = _processes()
        cpu: Counter[str] = Counter()
        for pid in _tree(os.getpid(), {pid: parent for pid, (parent, _, _) in processes.items()}):
            _, name, ticks = processes[pid]
            cpu[name] += ticks
        return cls(cpu, time.perf_counter())

    def since(self, earlier: "Reading") -> dict[str, object]:
        """Compute CPU-seconds, in all and by command name, and wall seconds between two readings."""
        ticks = {name: self.cpu[name] - earlier.cpu[name] for name in self.cpu}
        return {
            "cpu_seconds": sum(ticks.values()) / TICKS,
            "cpu_seconds_by_process": {name: value / TICKS for name, value in sorted(ticks.items())},
            "wall_seconds": self.wall - earlier.wall,
        }


def _processes() -> dict[int, tuple[int, str, int]]:
    """Return parent, command name and ticks (own and of waited-for children) of every process by its id."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        fields = rest.split()  # from field 3 of proc_pid_stat(5) on
        found[int(folder.name)] = (int(fields[1]), name, sum(int(value) for value in fields[11:15]))
    return found


def _tree(root: int, parents: dict[int, int]) -> set[int]:
    """Return the root and its descendants."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    tree, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        tree.add(pid)
        waiting.extend(children.get(pid, []))
    return tree
