"""The root command."""

import subprocess
import sys

SLOW = ("alembic", "fastapi", "httpx", "numpy", "pandas", "pydantic", "sqlalchemy", "streamlit", "torch")


def test_all_commands_are_there_before_anything_slow_is_imported():
    show = "import cli.app, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    imported = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in imported
    assert sorted(set(SLOW) & set(imported)) == []
