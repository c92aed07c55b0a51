"""The recipes of docs/extending.md, each carried out on a copy of the source."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import forks

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```diff\n--- (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Recipe:
    """What a section of the document tells an engineer to change, by source file."""

    title: str
    changes: Mapping[str, str]

    def carry_out(self, folder: Path) -> "ChangedSource":
        """Copy the source to ``folder`` and change it there."""
        for package in ("fedmem", "backend", "dashboard"):
            shutil.copytree(ROOT / package, folder / package)  # with the bytecode, which is that of what is not changed
        for name, change in self.changes.items():
            path = folder / name
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            path.write_text(changed(text, change, name), encoding="utf-8")
        return ChangedSource(folder)


@dataclass(frozen=True)
class ChangedSource:
    """A copy of the source after a recipe."""

    folder: Path

    def run(self, script: str, *arguments: str) -> str:
        """The output of a script beside this file, with the changed source in place of ours."""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(self.folder), str(ROOT)])}
        command = [sys.executable, str(ROOT / "tests" / "extending" / script), *arguments]
        done = forks.run(command, cwd=self.folder, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def train(self, **settings: Any) -> Any:
        """What ``tiny_training.py`` says of a tiny run with these settings by section."""
        return self.train_each(settings)[0]

    def train_each(self, *runs: Mapping[str, Any]) -> list[Any]:
        """The same of several runs, which one process trains."""
        return json.loads(self.run("tiny_training.py", *map(json.dumps, runs)))


def recipe(title: str) -> Recipe:
    """The recipe under a heading of the document."""
    sections = dict(SECTION.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")))
    return Recipe(title, dict(BLOCK.findall(sections[title])))


def changed(text: str, change: str, name: str) -> str:
    """A file after the hunks of a diff, which ``@@`` separates; what a hunk shows of the file stands there once."""
    for hunk in re.split(r"^@@.*\n", change, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
        after = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
        assert text.count(before) == 1 or not text, f"{name} has these lines {text.count(before)} times:\n{before}"
        text = text.replace(before, after) if text else after
    return text
