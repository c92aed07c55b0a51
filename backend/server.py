"""``fedmem serve``: one process that answers from one run."""

import contextlib
import socket

import uvicorn

from backend.app import create_app
from fedmem.errors import ConfigError
from fedmem.serving import Recommender


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one.

    Raises:
        ConfigError: if the port is in use or the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror}). "
            "Stop what listens there, or choose another --port or --host."
        ) from None
    return listener


def serve(recommender: Recommender, listener: socket.socket) -> None:
    """Answer until Ctrl-C."""
    server = uvicorn.Server(uvicorn.Config(create_app(recommender), log_level="warning"))
    # Once it has shut down, uvicorn raises the Ctrl-C again; here it is the regular end.
    with listener, contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
