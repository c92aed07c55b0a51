"""``python -m trainer``: one trainer process, with its settings from the environment."""

import gc
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.settings import Settings

# Before torch is imported: its threads under contention cost a factor of five and more, and another number of them adds
# in another order, while a job's numbers must not depend on which trainer takes it up.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Train jobs until SIGTERM or Ctrl-C or, with --until-idle, until no job is left."""
    import argparse
    import logging
    import sys

    from fedmem.environment import keep_files_private
    from fedmem.errors import FedMemError
    from fedmem.logs import log_to_stderr
    from trainer.settings import Settings

    parser = argparse.ArgumentParser(prog="python -m trainer", description=main.__doc__)
    parser.add_argument("--until-idle", action="store_true", help="end when no job is queued")
    until_idle = parser.parse_args().until_idle
    keep_files_private()
    log_to_stderr("trainer")
    try:
        _train(Settings.load(), until_idle=until_idle)
    except FedMemError as error:
        logging.getLogger("trainer").error("%s", error)
        sys.exit(2)


def _train(settings: "Settings", *, until_idle: bool) -> None:
    """Import what trains, which takes seconds, once there is no error that could be said at once, and let it train."""
    settings.runs().check()
    gc.disable()  # a fifth of the time would go into looking for garbage, of which imports make none
    from trainer.worker import serve_jobs

    gc.freeze()
    gc.enable()
    serve_jobs(settings, until_idle=until_idle)


if __name__ == "__main__":
    main()
