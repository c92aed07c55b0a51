"""One process that answers over HTTP: its server, and its regular end."""

import contextlib
import signal
import socket
import threading
from typing import Any

import uvicorn

from web.connections import PatientConfig
from web.settings import WebSettings, parts


def config(app: Any, settings: WebSettings, **options: Any) -> PatientConfig:
    """Make the server's configuration: an address that a proxy forwards is believed of the proxies that are trusted."""
    proxies = list(parts(settings.trusted_proxies))
    return PatientConfig(
        app,
        settings,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        **options,
    )


def run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Once it has shut down, uvicorn raises the signal again; here it is the regular end.
    with listener, contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
