"""The dashboard's process: settings, a port in use, and what it must never load."""

import json
import socket
import subprocess
import sys

import pytest

from dashboard.__main__ import listen, options
from dashboard.settings import Settings
from fedmem.errors import ConfigError


def test_the_defaults_are_loopback():
    settings = Settings(_env_file=None)
    assert (settings.host, settings.port, settings.base_url) == ("127.0.0.1", 8501, "http://127.0.0.1:8000")


def test_a_wrong_setting_is_named(monkeypatch):
    monkeypatch.setenv("FEDMEM_DASHBOARD_PORT", "http")
    with pytest.raises(ConfigError, match="FEDMEM_DASHBOARD_PORT = 'http'"):
        Settings.load()


def test_the_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("FEDMEM_API_KEY", "very-secret")
    assert "very-secret" not in repr(Settings.load())


def test_a_port_in_use_is_one_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1.*FEDMEM_DASHBOARD_PORT"):
            listen(Settings(_env_file=None, port=port))


def test_streamlit_knows_every_option_and_sends_no_statistics():
    from streamlit import config

    config.get_config_options()
    chosen = options(Settings(_env_file=None))
    for name in chosen:
        config.get_option(name)
    assert chosen["browser.gatherUsageStats"] is False


def test_streamlits_loggers_write_into_the_one_log():
    script = (
        "from dashboard.__main__ import _log_with_the_others; from fedmem.logs import log_to_stderr; import logging;"
        "import streamlit.logger as theirs;"
        "before = theirs.get_logger('streamlit.before'); log_to_stderr('dashboard'); _log_with_the_others();"
        "[logger.warning('odd %s', n) for n, logger in enumerate((before, theirs.get_logger('streamlit.after')))]"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in found.stderr.splitlines()]
    assert [(line["service"], line["logger"], line["message"]) for line in lines] == [
        ("dashboard", "streamlit.before", "odd 0"), ("dashboard", "streamlit.after", "odd 1"),
    ]  # fmt: skip


def test_the_process_loads_neither_torch_nor_sql():
    script = (
        "import sys, pkgutil, importlib, dashboard;"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(dashboard.__path__, 'dashboard.')];"
        "print({'torch', 'sqlalchemy', 'transformers'} & sys.modules.keys() or 'none')"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "none"
