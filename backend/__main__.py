"""``python -m backend``: answer over HTTP, with the settings of the environment."""

import gc
import logging
import os
import sys
from typing import TYPE_CHECKING

from fedmem.errors import BucketError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from backend.settings import Settings

# Before torch is imported: its threads under contention cost a factor of five.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> int:
    """Run, and return the process's exit code: 0 at its regular end, 2 if it cannot start."""
    from backend.logs import SaidToCallers
    from backend.server import listen, serve
    from backend.settings import Settings
    from fedmem.environment import keep_files_private
    from fedmem.errors import FedMemError
    from fedmem.logs import log_to_stderr
    from fedmem.process_memory import ARENAS, share_arenas

    log_to_stderr("backend", SaidToCallers())
    keep_files_private()
    share_arenas(ARENAS)
    log = logging.getLogger("backend")
    try:
        settings = Settings.load()
        listener = listen(settings.host, settings.port)
        app = _application(settings)
    except FedMemError as error:
        log.error("%s", error)
        return 2
    host, port = listener.getsockname()[:2]
    log.info("listening on http://%s:%d until Ctrl-C", host, port)
    serve(app, listener)
    return 0


def _application(settings: "Settings") -> "FastAPI":
    """Import the application, which takes seconds, once there is no error that could be said at once, and make it."""
    _check_bucket(settings)
    gc.disable()  # a fifth of the time would go into looking for garbage, of which imports make none
    from backend.app import create_app

    gc.enable()
    return create_app(settings)


def _check_bucket(settings: "Settings") -> None:
    """Refuse a bucket that cannot be used; one that cannot be reached now may be later, and what is here answers."""
    try:
        settings.runs().check()
    except BucketError as error:
        logging.getLogger("backend").warning("%s", error)


if __name__ == "__main__":
    sys.exit(main())
