"""What FedMem is made of: every package it needs is listed with its licence, and looked up among known weaknesses."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

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
    assert needed(project_root) - set(re.findall(r"[\w.-]+", notice.split("\n\n", 2)[2])) == set()
    assert re.search(r"LGPL-3\.0-only:\n +psycopg, psycopg-binary\n", notice)


@pytest.mark.parametrize(
    ("known", "found", "code", "said"),
    [
        (True, 0, 0, "asked"),
        (True, 1, 1, "asked"),
        (False, 1, 0, "not audited: the advisories cannot be reached"),
    ],
)
def test_the_audit_fails_on_a_known_weakness_and_says_where_it_could_not_ask(
    project_root, tmp_path, known, found, code, said
):
    told = FOUND if known else "jinja2 Dependency not found"
    tool = tmp_path / "pip-audit"
    tool.write_text(
        f"#!/bin/sh\ncase $2 in */control.txt) echo '{told}'; exit 1;; *) echo asked; exit {found};; esac\n"
    )
    tool.chmod(0o755)
    environment = os.environ | {"AUDIT": str(tool)}
    done = subprocess.run(
        [project_root / ".ci" / "audit"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, said in done.stdout) == (code, True), done
