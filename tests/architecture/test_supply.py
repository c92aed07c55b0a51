"""What FedMem is made of: every package it needs is listed with its licence, and looked up among known weaknesses."""

import hashlib
import importlib.util
import os
import re
import subprocess
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

# Other builds of torch are other files under the same version, and bring others of these.
BY_INDEX_ALONE = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
PIN = re.compile(r"^([a-z0-9._-]+)==(.*?)(?: \\)?$", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
ONLY_FOR_DEVELOPMENT = ("dev", "bench")
FOUND = "jinja2 2.10    CVE-2019-10906 2.10.1"


def needed(project_root: Path) -> set[str]:
    """The packages that pyproject.toml names, but for those of development."""
    project = tomllib.loads((project_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    lists = [project["dependencies"], *(names for extra, names in extras if extra not in ONLY_FOR_DEVELOPMENT)]
    return {re.split(r"[\[<>=~!; ]", name)[0].lower() for names in lists for name in names}


def test_every_package_is_listed_with_its_licence(project_root):
    notice = (project_root / "NOTICE").read_text(encoding="utf-8")
    of_flower = {name for name, _ in pins((project_root / "locked-flower.txt").read_text(encoding="utf-8"))}
    assert (needed(project_root) | of_flower) - set(re.findall(r"[\w.-]+", notice.split("\n\n", 2)[2])) == set()
    assert re.search(r"LGPL-3\.0-only:\n +psycopg, psycopg-binary\n", notice)


def pins(text: str) -> set[tuple[str, str]]:
    return {(name, version.strip()) for name, version in PIN.findall(text)}


def test_every_pin_but_torch_and_what_it_brings_has_its_hashes(project_root):
    """``make constraints`` writes the three files; a pin without a hash would be installed whatever the index holds."""
    constraints, services, more = (
        (project_root / name).read_text(encoding="utf-8")
        for name in ("constraints.txt", "locked.txt", "locked-dev.txt")
    )
    by_hash = {pin for pin in pins(constraints) if not BY_INDEX_ALONE.fullmatch(pin[0])}
    assert pins(services + more) == by_hash
    assert not {name for name, _ in pins(services)} & {name for name, _ in pins(more)}
    for block in re.split(r"\n(?=\S)", services + more):
        assert HASH.search(block), block


def test_every_pin_of_flowers_environment_has_its_hashes(project_root):
    """Which ``make flower`` demands: nothing else is installed into it."""
    locked = (project_root / "locked-flower.txt").read_text(encoding="utf-8")
    assert "flwr" in {name for name, _ in pins(locked)}
    for block in re.split(r"\n(?=\S)", locked):
        assert HASH.search(block), block
    recipe = (project_root / "Makefile").read_text(encoding="utf-8").partition("$(FLOWER)/.installed:")[2]
    (install,) = [line for line in recipe.splitlines() if "pip install" in line and "$(FLOWER)" in line]
    assert {"--require-hashes", "--no-deps", "-r"} <= set(install.split())
    assert install.split()[-1] == "locked-flower.txt"


def test_what_the_image_needs_is_known_by_hash(project_root):
    """With what builds the checkout, so that the steps without hashes find all but torch's family installed."""
    services = pins((project_root / "locked.txt").read_text(encoding="utf-8"))
    assert {"setuptools"} | needed(project_root) - {"torch", "openai", "faiss-cpu", "ray"} <= {
        name for name, _ in services
    }


def wheel(folder: Path, name: str) -> str:
    """Write a wheel of one empty module, and return its SHA-256."""
    about = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{about}/RECORD"])
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in (files | {f"{about}/RECORD": record}).items():
            archive.writestr(inside, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_of_another_hash_is_refused_by_make_install(project_root, tmp_path):
    """The Makefile's own steps, with no index, where one package is needed: it is installed under its hash alone."""
    (tmp_path / "Makefile").write_text((project_root / "Makefile").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "checkout"\nversion = "1"\n[project.optional-dependencies]\ndev = ["small"]\n'
    )
    (tmp_path / "constraints.txt").write_text("small==1.0\n")
    (tmp_path / "locked-dev.txt").write_text("")
    right = wheel(tmp_path, "small")
    venv.create(tmp_path / ".venv", symlinks=True)
    (tmp_path / "pip").symlink_to(importlib.util.find_spec("pip").submodule_search_locations[0])
    environment = os.environ | {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHONPATH": str(tmp_path),
    }

    def install(digest: str) -> tuple["subprocess.CompletedProcess[str]", list[Path]]:
        (tmp_path / "locked.txt").write_text(f"small==1.0 \\\n    --hash=sha256:{digest}\n")
        done = subprocess.run(
            ["make", "install"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        return done, list(tmp_path.glob(".venv/lib/*/site-packages/small.py"))

    done, installed = install("0" * 64)
    assert "DO NOT MATCH THE HASHES" in done.stderr, done
    assert (done.returncode != 0, installed) == (True, [])
    done, installed = install(right)
    assert "DO NOT MATCH THE HASHES" not in done.stderr, done
    assert len(installed) == 1


@pytest.mark.parametrize(
    ("known", "found", "code", "said"),
    [
        (True, "none", 0, "asked constraints.txt\nasked locked-flower.txt"),
        (True, "constraints.txt", 1, "asked constraints.txt\nasked locked-flower.txt"),
        (True, "locked-flower.txt", 1, "asked constraints.txt\nasked locked-flower.txt"),
        (False, "none", 0, "not audited: the advisories cannot be reached"),
    ],
)
def test_the_audit_fails_on_a_known_weakness_and_says_where_it_could_not_ask(
    project_root, tmp_path, known, found, code, said
):
    told = FOUND if known else "jinja2 Dependency not found"
    tool = tmp_path / "pip-audit"
    tool.write_text(
        f"#!/bin/sh\ncase $2 in */control.txt) echo '{told}'; exit 1;; *) echo asked $2; [ $2 != {found} ];; esac\n"
    )
    tool.chmod(0o755)
    environment = os.environ | {"AUDIT": str(tool)}
    done = subprocess.run(
        [project_root / ".ci" / "audit"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, said in done.stdout) == (code, True), done
