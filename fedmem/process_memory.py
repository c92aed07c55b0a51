"""The memory of this process: how much it may have, and what it gives back that it needs no more."""

import ctypes
import gc
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
ARENAS = 2  # of a service with many threads
ARENAS_SETTING, MAX_ARENAS = "MALLOC_ARENA_MAX", -8  # glibc's names of one thing: in the environment, and for mallopt


def machine_memory() -> int:
    """Measure the memory that this process may have at most, in bytes: the machine's, or its container's."""
    limits = [int(text) for path in CGROUP_LIMITS if (text := _text(path)).isdecimal()]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def bound_memory(count: int) -> None:
    """Let no process that is started from here, nor this one, have more than so many bytes of memory of its own.

    What is asked for beyond that is then an error that ends one piece of work, and no kill by the system that ends all.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(ValueError, OSError):  # where the system bounds it closer already
        resource.setrlimit(resource.RLIMIT_DATA, (count, hard))


def share_arenas(count: int) -> None:
    """Let all threads take memory from so many arenas of the C library; called before there are other threads.

    glibc gives a thread an arena of its own, and each keeps what was freed in it: a process whose threads load models
    came to hold hundreds of megabytes of nothing. Whoever sets MALLOC_ARENA_MAX has chosen.
    """
    choose = _of_glibc("mallopt")
    if choose is not None and ARENAS_SETTING not in os.environ:
        choose(MAX_ARENAS, count)


def give_back(*, circles: bool = True) -> None:
    """Give free memory back to the system, which glibc would rather keep, in pieces.

    Args:
        circles: whether to collect first what refers to itself, for which all threads of Python stand still.
    """
    if circles:
        gc.collect()
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> "ctypes._NamedFuncPointer | None":
    """Find a function of glibc; musl and other systems have none of these."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
