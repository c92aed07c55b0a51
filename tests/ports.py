"""Ports for services that must be told one before they start."""

import itertools
import os
import socket

# Below what the system gives to whoever asks for any port; each test process has a range of its own.
_FIRST, _EACH = 20_000, 1_000
_numbers = itertools.cycle(range(_EACH))


def free_port() -> int:
    """A port that is not listened on, and that no other test process is given."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for number in itertools.islice(_numbers, _EACH):
        port = _FIRST + _EACH * (process % 10) + number
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
