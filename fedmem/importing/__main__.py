"""``python -m fedmem.importing FOLDER``: do what is to be done about the upload in this folder.

A process of its own, behind all others of the machine: answers of the API do not wait for it, and where the memory does
not suffice it is what the system ends. The lock that it inherits is held until its end, which comes at once where
``stop`` is in the folder, and at the latest after an hour of work.
"""

import contextlib
import logging
import os
import resource
import sys
import threading
import time
from pathlib import Path

from fedmem.environment import keep_files_private
from fedmem.importing.task import Task
from fedmem.importing.uploads import POLL_SECONDS, STOP
from fedmem.logs import log_to_stderr
from fedmem.process_memory import bound_memory, machine_memory

BEHIND = 10
MOST_SECONDS = 3600  # of a processor
SHARE = 2  # of the machine's memory: a half


def main() -> None:
    """Do it, behind all other processes."""
    folder = Path(sys.argv[1])
    log_to_stderr("import")
    logging.getLogger("fedmem.data").propagate = False  # remarks, which may show what is in a file, are the upload's
    keep_files_private()
    os.nice(BEHIND)
    with contextlib.suppress(OSError):  # the first that the system ends where memory is short
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    bound_memory(machine_memory() // SHARE)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    threading.Thread(target=_end_when_told, args=[folder / STOP], daemon=True).start()
    Task(folder, os.environ["DATABASE_URL"]).run()


def _end_when_told(stop: Path) -> None:
    """End this process, whatever it does, once the file is there: the database takes back what is not committed."""
    while not stop.exists():
        time.sleep(POLL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
