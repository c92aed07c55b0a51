"""``python -m fedmem.importing FOLDER``: do what is to be done about the upload in this folder.

A process of its own, behind all others of the machine: answers of the API do not wait for it, and where the memory does
not suffice it is what the system ends. The lock that it inherits is held until its end.
"""

import contextlib
import os
import sys
from pathlib import Path

from fedmem.environment import keep_files_private
from fedmem.importing.task import Task

BEHIND = 10


def main() -> None:
    """Do it, behind all other processes."""
    keep_files_private()
    os.nice(BEHIND)
    with contextlib.suppress(OSError):  # the first that the system ends where memory is short
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    Task(Path(sys.argv[1]), os.environ["DATABASE_URL"]).run()


if __name__ == "__main__":
    main()
