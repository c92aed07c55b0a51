"""Every command that a document or the Makefile tells a reader to type exists, with those options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from cli.app import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/performance.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/guide/*.md")),
)
FENCE = re.compile(r"^```(?:bash|sh|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"^([a-z]+):", re.MULTILINE)


def words_of(line: str) -> list[str]:
    """The words of a command line, without the prompt, assignments before it, and the folder of the command."""
    words = shlex.split(line.strip().removeprefix("$ "), comments=True)
    while words and re.match(r"^[A-Z_]+=", words[0]):
        words.pop(0)
    return [words[0].rpartition("/")[2], *words[1:]] if words else []


def commands_in(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        if re.match(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?(?:fedmem|make)\s", line):
            yield words_of(line)


def documented_commands() -> list[list[str]]:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    found = [words for text in texts for block in FENCE.findall(text) for words in commands_in(block)]
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8").replace("@$(BIN)/", "")
    recipes = re.sub(r"\$\((DASHBOARD_)?PORT\)", "8000", recipes)
    recipes = re.sub(r"\$\(if 8000,([^)]*)\)", r"\1", recipes)  # as where both ports are given
    return [*found, *(words for words in commands_in(recipes) if words[0] == "fedmem")]


def parse(words: list[str]) -> None:
    """Read a ``fedmem`` command without running it; raises on a name or an option that is not there."""
    command, arguments = typer.main.get_command(app), words[1:]
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        command = command.commands[arguments.pop(0)]
    command.make_context(words[0], arguments, resilient_parsing="--help" in arguments)


@pytest.mark.parametrize("words", documented_commands(), ids=" ".join)
def test_documented_command_exists(words):
    if words[0] == "fedmem":
        parse(words)
    else:
        targets = TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
        assert {word for word in words[1:] if "=" not in word} <= set(targets)


@pytest.mark.parametrize("line", ["fedmem train --no-such-option", "fedmem fly", "fedmem train"])
def test_a_command_that_does_not_exist_is_noticed(line):
    with pytest.raises(Exception, match=r"no-such-option|fly|Missing parameter: data"):
        parse(line.split())


def test_the_readme_shows_how_to_begin():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = [words for block in FENCE.findall(readme) for words in commands_in(block)]
    assert ["make", "demo"] in found
    assert ["make", "test"] in found
