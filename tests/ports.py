"""Ports for services that must be told one before they start."""

import itertools
import os
import socket

# Below what the system gives to whoever asks for any port. Each process of a run has a range of its own, and begins
# somewhere in it, because another run on this machine has the same.
_FIRST, _EACH = 20_000, 1_000
_numbers = itertools.count(os.getpid())


def free_port() -> int:
    """A port that is not listened on, and that no other process of this run is given."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for number in itertools.islice(_numbers, _EACH):
        port = _FIRST + _EACH * (process % 10) + number % _EACH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
