"""Memory is given back, and taken from few arenas."""

import gc
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from fedmem.process_memory import give_back
from tests.forks import CONTEXT
from tests.waiting import PATIENCE

KEPT, PIECE = 200, 2**16  # pieces that the C library takes from its heap, and does not map one by one


# Threads that hold memory at the same time; the C library's arenas begin at multiples of 64 MiB.
THREADS = """
import re, sys, threading
from fedmem.process_memory import share_arenas
if len(sys.argv) > 1:
    share_arenas(int(sys.argv[1]))
held, together = [], threading.Barrier(8)
def hold():
    together.wait()
    held.append([bytearray(2**16) for _ in range(20)])
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
begins = re.findall(r"^([0-9a-f]+)-.* 0 *$", open("/proc/self/maps").read(), re.MULTILINE)
print(sum(int(begin, 16) % 2**26 == 0 for begin in begins))
"""


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_what_refers_to_itself_is_collected():
    gone = weakref.ref(Circle())
    gc.disable()
    try:
        give_back()
    finally:
        gc.enable()
    assert gone() is None


def resident() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1])


def fragmented() -> None:
    """Hold every tenth of many pieces: what lies between them is free, and stays the process's."""
    pieces = [bytearray(PIECE) for _ in range(10 * KEPT)]
    held, before = pieces[::10], resident()
    pieces.clear()
    give_back()
    assert before - resident() > 5 * KEPT * PIECE
    assert len(held) == KEPT


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_free_memory_between_what_is_held_goes_back_to_the_system():
    process = CONTEXT.Process(target=fragmented)
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_threads_share_arenas_unless_the_environment_says_how_many_there_are():
    def arenas(*count: str, **environment: str) -> int:
        command = [sys.executable, "-c", THREADS, *count]
        return int(subprocess.check_output(command, text=True, env=os.environ | environment))

    assert arenas() > 3
    assert arenas("2") < 2
    assert arenas("2", MALLOC_ARENA_MAX="64") > 3
