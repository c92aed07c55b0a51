"""``python -m dashboard``: the dashboard as a process of its own, which opens no browser and sends no statistics."""

import sys
from pathlib import Path
from typing import Any

from dashboard.settings import Settings
from fedmem.environment import keep_files_private
from fedmem.errors import ConfigError, FedMemError
from fedmem.sockets import bound_socket

APP = Path(__file__).with_name("app.py")
LIGHT = {
    "primaryColor": "#0072B2",
    "backgroundColor": "#FFFFFF",
    "secondaryBackgroundColor": "#F3F5F8",
    "textColor": "#1B2330",
}
DARK = {
    "primaryColor": "#56B4E9",
    "backgroundColor": "#11151C",
    "secondaryBackgroundColor": "#1A202B",
    "textColor": "#E8ECF2",
}


def main() -> None:
    """Serve the dashboard until SIGTERM or Ctrl-C."""
    keep_files_private()
    try:
        settings = Settings.load()
        check_port(settings)
    except FedMemError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    serve(settings)


def check_port(settings: Settings) -> None:
    """Check that the port is free.

    Raises:
        ConfigError: naming it.
    """
    try:
        bound_socket(settings.host, settings.port).close()
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
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        "runner.magicEnabled": False,
        "runner.postScriptGC": False,  # a collection of everything after each poll takes more than all the rest
        "client.showErrorDetails": "none",
        "theme.baseRadius": "medium",
        "theme.headingFontSizes": ["2.1rem", "1.5rem", "1.25rem", "1.1rem", "1rem", "1rem"],
        **themes,
    }


def serve(settings: Settings) -> None:
    """Run Streamlit in this process."""
    from streamlit.web import bootstrap

    chosen = {name.replace(".", "_"): value for name, value in options(settings).items()}
    bootstrap.load_config_options(chosen)
    bootstrap.run(str(APP), False, [], chosen)


if __name__ == "__main__":
    main()
