"""Memory that a job leaves: given back to the system, which the C library would rather keep."""

import ctypes
import gc
import sys


def give_back() -> None:
    """Collect what refers to itself in circles, and give free memory back where the C library is glibc.

    Freed memory stays the process's else, in pieces: night after night a trainer came to hold more of it.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
