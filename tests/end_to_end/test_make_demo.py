"""``make demo``: the ports that it is given, and those that .env names."""

import os
import subprocess

import pytest


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ((), []),
        (("PORT=8001",), ["--port", "8001"]),
        (("PORT=8001", "DASHBOARD_PORT=8502"), ["--port", "8001", "--dashboard-port", "8502"]),
    ],
)
def test_ports_are_passed_on_only_where_they_are_given(project_root, given, flags):
    environment = {name: value for name, value in os.environ.items() if name not in ("PORT", "DASHBOARD_PORT")}
    command = ["make", "--dry-run", "demo", *given]
    recipe = subprocess.run(command, cwd=project_root, env=environment, capture_output=True, text=True, check=True)
    assert recipe.stdout.splitlines()[-1].split() == [".venv/bin/fedmem", "up", *flags]
