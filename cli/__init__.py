"""The command line. ``main`` turns every error a user can cause into one line on stderr and exit code 2."""

import os
import sys

# Before anything imports torch: its threads under contention cost a factor of five and more.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Run ``fedmem``."""
    from cli.app import app
    from cli.screen import explain, replace_what_the_encoding_lacks
    from fedmem.environment import keep_files_private, read_environment
    from fedmem.errors import OUT_OF_MEMORY, FedMemError

    replace_what_the_encoding_lacks()
    keep_files_private()
    try:
        read_environment()
        app()
    except FedMemError as error:
        explain(error)
        sys.exit(2)
    except MemoryError:
        explain(FedMemError(OUT_OF_MEMORY))
        sys.exit(2)
