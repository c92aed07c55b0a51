"""The trainer's share of the machine: the processor that others leave, and no more memory than there is."""

import os
import resource
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")


def step_back(niceness: int) -> None:
    """Run at a lower priority from now on, with all processes that are started from here.

    Where Linux groups processes by session (sched_autogroup_enabled, as on most desktops and servers), it shares the
    processor among sessions first, and niceness counts within one alone. So a session that is the trainer's own, as
    ``fedmem up`` and service managers start it, steps back as a whole; one that it shares with a shell does not.
    """
    os.nice(niceness)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # no such grouping here
            AUTOGROUP.write_text(str(niceness), encoding="ascii")


def bound_memory(count: int) -> None:
    """Let no process that is started from here, nor this one, have more than so many bytes of memory of its own.

    What a job asks for beyond that is then an error that ends the job, and no kill by the system that ends the trainer.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(ValueError, OSError):  # where the system bounds it closer already
        resource.setrlimit(resource.RLIMIT_DATA, (count, hard))
