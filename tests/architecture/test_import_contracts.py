"""The import contracts hold, and each of them notices the import that it is there to forbid."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def copied_tree(project_root: Path, tmp_path: Path) -> Path:
    """A copy of the source that a test may spoil."""
    for package in ("cli", "fedmem", "backend", "trainer", "dashboard", "web", "migrations", "benchmarks"):
        shutil.copytree(project_root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project_root / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_are_kept(project_root):
    result = lint_imports(project_root)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("fedmem/data/split.py", "import fedmem.model", "The core is a column"),
        ("fedmem/model/sasrec.py", "import fedmem.memory", "The core is a column"),
        ("fedmem/helpers.py", "", "The core is a column"),
        ("fedmem/serving/recommender.py", "import backend.app", "A service stands on the core"),
        ("fedmem/experiment.py", "import cli.screen", "A service stands on the core"),
        ("benchmarks/measure.py", "import cli.screen", "A service stands on the core"),
        ("backend/app.py", "import fedmem.model.sasrec", "The backend enters the core"),
        ("fedmem/federated/messages.py", "import fedmem.memory.local_memory", "The server side cannot reach"),
        ("fedmem/federated/aggregation.py", "import fedmem.data.client_dataset", "The server side cannot reach"),
        ("fedmem/federated/server.py", "import fedmem.federated.client", "The server side cannot reach"),
        ("fedmem/federated/postprocessing.py", "import fedmem.federated.chunk", "The server side cannot reach"),
        ("fedmem/federated/round.py", "import fedmem.memory.entries", "The server side cannot reach"),
        ("fedmem/model/sasrec.py", "import fastapi", "The science knows no web server"),
        ("fedmem/model/losses.py", "import fedmem.model.recommender", "No circular imports"),
    ],
)
def test_contract_notices_a_forbidden_import(copied_tree, module, line, contract):
    with (copied_tree / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(copied_tree)
    broken = [text for text in result.stdout.splitlines() if text.endswith("BROKEN")]
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(text.startswith(contract) for text in broken), result.stdout
