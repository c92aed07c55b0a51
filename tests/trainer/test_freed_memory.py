"""Memory is given back after a job."""

import gc
import re
import sys
import weakref
from pathlib import Path

import pytest

from tests.forks import CONTEXT
from tests.waiting import PATIENCE
from trainer.freed_memory import give_back

KEPT, PIECE = 200, 2**16  # pieces that the C library takes from its heap, and does not map one by one


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
