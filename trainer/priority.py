"""The trainer's share of the machine: the processor that others leave, and no more memory than there is."""

import os
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
