"""``python -m trainer``: one trainer process, with its settings from the environment."""

import os

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
    from trainer.settings import Settings
    from trainer.worker import serve_jobs

    parser = argparse.ArgumentParser(prog="python -m trainer", description=main.__doc__)
    parser.add_argument("--until-idle", action="store_true", help="end when no job is queued")
    until_idle = parser.parse_args().until_idle
    keep_files_private()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=logging.INFO)
    try:
        serve_jobs(Settings.load(), until_idle=until_idle)
    except FedMemError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
