"""One process that answers over HTTP."""

import gc
import socket
import sys

import uvicorn
from fastapi import FastAPI

from fedmem.errors import ConfigError
from fedmem.sockets import bound_socket
from web.server import config, run

GRACE_SECONDS = 10  # for requests in progress, once the end is asked for
SWITCH_SECONDS = 0.00005  # a request needs the interpreter several times, and waits as long each time


def listen(host: str, port: int) -> socket.socket:
    """Open a socket bound to the address; port 0 takes a free one.

    Raises:
        ConfigError: if the port is in use or the address is not this machine's.
    """
    try:
        return bound_socket(host, port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror}). "
            "Stop what listens there, or choose another --port or --host."
        ) from None


class Server(uvicorn.Server):
    """uvicorn, which tells the application that the end has come before it waits for answers without an end."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(config(app, app.state.settings, ws="none", timeout_graceful_shutdown=GRACE_SECONDS))
        self.fastapi = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then everything."""
        self.fastapi.state.ending.set()
        await super().shutdown(sockets)


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM."""
    let_answers_go_first()
    run(Server(app), listener)


def let_answers_go_first() -> None:
    """Keep what other threads do, above all loading a model, from holding up requests.

    By default a thread that computes keeps the interpreter for 5 ms each time that another one wants it; and one that
    makes many objects sets off a collection that looks at all of the libraries' for a tenth of a second.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
