"""One trained run for all tests of the backend."""

from pathlib import Path

import pytest

from tests.tiny import trained


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory."""
    return trained(tmp_path_factory.mktemp("backend") / "run").directory.path
