"""A real nginx before the services, with the configuration that the guide shows."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
SHOWN = re.compile(r"```nginx\n(.*?)```", re.DOTALL)
AROUND = """
pid {folder}/nginx.pid; daemon off; master_process off; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {servers}
}}
"""
# A site with one page and nothing else.
SITE = (
    "server {{ listen 127.0.0.1:{port}; location / {{ default_type text/html; return 200 '<title>A shop</title>'; }} }}"
)


def nginx() -> str:
    """Where it is; without it, the test is skipped."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    return found


def as_the_guide_shows(port: int, api: str, dashboard: str) -> str:
    """The guide's configuration, with a test's own addresses."""
    addresses = {"http://127.0.0.1:8000": api, "http://127.0.0.1:8501": dashboard}
    return as_shown("guide/proxy.md", {"listen 80;": f"listen 127.0.0.1:{port};", **addresses})


def as_shown(page: str, own: Mapping[str, str]) -> str:
    """The configuration on a page of the documentation, with a test's own in place of what it shows."""
    found = SHOWN.search((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert found is not None
    shown = found[1]
    for there, here in own.items():
        assert there in shown
        shown = shown.replace(there, here)
    return shown


@contextmanager
def nginx_with(folder: Path, servers: str, *ports: int) -> Iterator[None]:
    """nginx with these servers until the block ends."""
    file = folder / "nginx.conf"
    file.write_text(AROUND.format(folder=folder, servers=servers), encoding="utf-8")
    with subprocess.Popen([nginx(), "-p", str(folder), "-c", str(file)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            until(lambda: process.poll() is not None or all(map(_is_open, ports)), "nginx")
            assert process.poll() is None, process.stderr.read()
            yield
        finally:
            process.terminate()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
