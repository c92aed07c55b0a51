"""The real backend on a database of the tests' own, in this process, and the real dashboard beside it as a process."""

import functools
import html
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import streamlit as st
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.testing.v1 import AppTest

from backend.app import create_app
from backend.server import Server, listen
from backend.settings import Settings
from tests.forks import Forked
from tests.ports import free_port
from tests.waiting import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "dashboard" / "app.py"
PAGES = sorted(path.stem for path in (ROOT / "dashboard" / "views").glob("[a-z]*.py"))
POLL = 0.5


@contextmanager
def backend_on(url: str, data_dir: Path, port: int = 0, **settings: Any) -> Iterator[str]:
    """The address of a backend that answers from this database until the block ends."""
    told = Settings(_env_file=None, database_url=url, data_dir=data_dir, **{"refresh_seconds": 0.2, **settings})
    listener = listen("127.0.0.1", port)
    server = Server(create_app(told))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        wait_for(f"{address}/health/live")
        yield address
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
        assert not thread.is_alive(), "the backend does not end"


@contextmanager
def dashboard_on(api: str, **settings: str) -> Iterator[str]:
    """The address of a dashboard that reads this API."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = (
        os.environ
        | settings
        | {
            "FEDMEM_API_URL": api,
            "FEDMEM_DASHBOARD_PORT": str(port),
            "FEDMEM_DASHBOARD_POLL_SECONDS": str(POLL),
            "PYTHONPATH": str(ROOT),
        }
    )
    process = Forked([sys.executable, "-m", "dashboard"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or _answers(f"{address}/_stcore/health"), "the dashboard", pause=0.1)
        assert process.poll() is None, "the dashboard has ended"
        yield address
    finally:
        process.terminate()
        process.wait()


def wait_for(address: str) -> None:
    """Until it answers."""
    until(lambda: _answers(address), f"an answer of {address}", pause=0.1)


def asked(address: str) -> httpx.Response:
    """An answer of the backend."""
    return httpx.get(address, timeout=PATIENCE)


def _answers(address: str) -> bool:
    try:
        return asked(address).is_success
    except httpx.TransportError:
        return False


def open_page(name: str, app: Path = APP, **query: object) -> AppTest:
    """A page after its first run in this process, without an exception; the API is the environment's."""
    st.cache_resource.clear()
    st.cache_data.clear()
    opened = AppTest.from_file(str(app), default_timeout=PATIENCE).switch_page(f"views/{name}.py")
    opened._bidi_component_manager = installed_components()
    opened.query_params.update({key: str(value) for key, value in query.items()})
    opened.run()
    if not opened.main.children:  # CPython 3.11 may fail to parse a script while another thread parses (gh-106905)
        opened.run()
    assert not opened.exception, opened.exception
    return opened


@functools.cache
def installed_components() -> BidiComponentManager:
    """What Streamlit finds of components among all installed packages, for which it would search in every test."""
    found = BidiComponentManager()
    found.discover_and_register_components(start_file_watching=False)
    return found


def word_tables(app: AppTest) -> list[pd.DataFrame]:
    """The tables of words on a page, as a reader sees them, the first first."""
    found = [e.proto.body for e in app.get("html") if 'class="fm-table"' in e.proto.body]
    cells = [[re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("<tr>")[1:]] for body in found]
    told = [[[html.unescape(re.sub("<.*?>", "", cell)) for cell in row] for row in rows] for rows in cells]
    return [pd.DataFrame(rows, columns=names) for names, *rows in told]


def read(markdown: str) -> str:
    """What a reader sees of data that is written as ``dashboard.plain_text.in_markdown`` does."""
    return html.unescape(markdown.replace(":small[]", ""))
