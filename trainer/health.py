"""``python -m trainer.health``: whether a trainer of this host lives, by what it last wrote to the database.

For a container's health check: it asks no other service, and a trainer that hangs or lost its database does not pass.
"""

import socket
import sys
import time
from math import inf

from fedmem.errors import FedMemError
from fedmem.storage.engine import connect
from fedmem.storage.jobs import JobStore
from trainer.settings import Settings

SILENCE = 30.0  # seconds: six times what an idle trainer lets pass between two signs of life


def main() -> int:
    """Return 0 if a trainer of this host was heard of lately, else 1."""
    try:
        settings = Settings.load()
        silence = silence_of(JobStore(connect(settings.database_url)), socket.gethostname())
    except FedMemError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    # One that trains is heard of three times per lease.
    if silence > max(SILENCE, settings.lease_seconds):
        sys.stderr.write(f"error: no trainer of this host was heard of in the last {silence:.0f} seconds\n")
        return 1
    return 0


def silence_of(jobs: JobStore, host: str) -> float:
    """Return the seconds since any trainer of the host was heard of; infinite if none ever was, or all have ended.

    Of one that was heard of in time to come, because a clock was set back, they are as many as until then.
    """
    now = time.time()
    return min((abs(now - row.seen_at) for row in jobs.trainers() if row.worker.startswith(f"{host}:")), default=inf)


if __name__ == "__main__":
    sys.exit(main())
