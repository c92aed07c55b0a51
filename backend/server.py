"""``fedmem serve``: one process that answers from one run."""

import socket
from pathlib import Path

import uvicorn

from backend.app import create_app
from fedmem.errors import ConfigError
from fedmem.serving import Recommender


def serve_run(run: Path, host: str, port: int) -> None:
    """Listen until Ctrl-C.

    Raises:
        ConfigError: if the port is in use or the address is not this machine's.
        CheckpointError: if the run cannot be read.
    """
    recommender = Recommender.load(run)
    with _listening_socket(host, port) as listener:
        server = uvicorn.Server(uvicorn.Config(create_app(recommender), log_level="info"))
        server.run(sockets=[listener])


def _listening_socket(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror}). Stop what listens there, or choose another --port."
        ) from None
    return listener
