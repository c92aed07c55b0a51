"""``python -m backend``: answer over HTTP, with the settings of the environment."""

import logging
import os
import sys

# Before torch is imported: its threads under contention cost a factor of five.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from backend.app import create_app
from backend.logs import log_to_stderr
from backend.server import listen, serve
from backend.settings import Settings
from fedmem.environment import keep_files_private
from fedmem.errors import FedMemError


def main() -> int:
    """Run, and return the process's exit code: 0 at its regular end, 2 if it cannot start."""
    log_to_stderr()
    keep_files_private()
    log = logging.getLogger("backend")
    try:
        settings = Settings.load()
        app = create_app(settings)
        listener = listen(settings.host, settings.port)
    except FedMemError as error:
        log.error("%s", error)
        return 2
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d until Ctrl-C", host, port)
    serve(app, listener)
    return 0


if __name__ == "__main__":
    sys.exit(main())
