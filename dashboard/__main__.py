"""``python -m dashboard``: the dashboard as a process of its own, which opens no browser and sends no statistics."""

import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard.settings import Settings
from dashboard.theme import DARK, LIGHT
from fedmem.environment import keep_files_private
from fedmem.errors import ConfigError, FedMemError
from fedmem.logs import log_to_stderr
from fedmem.process_memory import ARENAS, share_arenas
from fedmem.sockets import bound_socket

if TYPE_CHECKING:
    import streamlit as st

GRACE_SECONDS = 3  # for answers in progress, once the end is asked for
APP = Path(__file__).with_name("app.py")
LOG = logging.getLogger("dashboard")


def main() -> None:
    """Serve the dashboard until SIGTERM or Ctrl-C."""
    log_to_stderr("dashboard")
    keep_files_private()
    share_arenas(ARENAS)
    try:
        settings = Settings.load()
        listener = listen(settings)
    except FedMemError as error:
        LOG.error("%s", error)
        sys.exit(2)
    if settings.warning is not None:
        LOG.warning("%s", settings.warning)
    LOG.info("listening on http://%s:%d until Ctrl-C", *listener.getsockname()[:2])
    serve(settings, listener)


def listen(settings: Settings) -> socket.socket:
    """Open the socket that the dashboard answers on.

    Raises:
        ConfigError: naming the port, if it is taken.
    """
    try:
        return bound_socket(settings.host, settings.port)
    except OSError as error:
        raise ConfigError(
            f"port {settings.port} of {settings.host} cannot be used ({error.strerror}): "
            "stop what listens there, or set FEDMEM_DASHBOARD_PORT to another"
        ) from None


def options(settings: Settings) -> dict[str, Any]:
    """List Streamlit's options: they stand here, so that no file in the working directory is needed."""
    themes = {
        f"theme.{mode}.{name}": value
        for mode, theme in (("light", LIGHT), ("dark", DARK))
        for name, value in theme.items()
    }
    return {
        "server.address": settings.host,
        "server.port": settings.port,
        "server.headless": True,
        "server.maxUploadSize": settings.max_upload_mib,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "browser.gatherUsageStats": False,
        "logger.level": "warning",
        "client.toolbarMode": "viewer",
        "runner.magicEnabled": False,
        "runner.postScriptGC": False,  # a collection of everything after each poll takes more than all the rest
        "client.showErrorDetails": "none",
        "theme.baseRadius": "medium",
        "theme.headingFontSizes": ["2.1rem", "1.5rem", "1.25rem", "1.1rem", "1rem", "1rem"],
        **themes,
    }


def serve(settings: Settings, listener: socket.socket) -> None:
    """Run Streamlit in this process."""
    import uvicorn
    from streamlit.web import bootstrap

    from web.server import config, run
    from web.websockets import PatientWebSocket

    _log_with_the_others()
    bootstrap.load_config_options({name.replace(".", "_"): value for name, value in options(settings).items()})
    server = config(application(settings), settings, ws=PatientWebSocket, timeout_graceful_shutdown=GRACE_SECONDS)
    run(uvicorn.Server(server), listener)


def _log_with_the_others() -> None:
    """Have Streamlit, which gives each of its loggers a handler of its own, write into the one log."""
    import streamlit.logger as theirs

    def join(logger: logging.Logger) -> None:
        logger.handlers, logger.propagate = [], True

    theirs.setup_formatter = join
    theirs.update_formatter()


def application(settings: Settings) -> "st.App":
    """Put the password, the check of hosts and origins and the proxy's prefix around Streamlit's application."""
    import streamlit as st
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse

    from dashboard.password import PasswordProtected
    from web.browsers import BrowserGuard
    from web.prefix import PathPrefix

    around = [Middleware(BrowserGuard, settings, lambda _, detail: PlainTextResponse(detail, 403))]
    if settings.root_path:
        around.insert(0, Middleware(PathPrefix, settings.root_path))
    if settings.password is not None:
        around.append(Middleware(PasswordProtected, settings.password.get_secret_value(), settings.root_path))
    return st.App(APP, middleware=around)


if __name__ == "__main__":
    main()
