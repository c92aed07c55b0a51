"""The environment of every process: the file ``.env`` in its working directory supplies what is not set.

What a process of ours writes is its user's alone to read: databases, checkpoints and logs hold what users have done.

``.env`` is found and read here and nowhere else. What stands in the environment already wins, and an empty variable
counts as unset. Only names of ours are taken, for the file may serve other programs too, and AWS's, by which a bucket
is reached.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from fedmem.errors import ConfigError

FILE = Path(".env")
PRIVATE = 0o077  # the rights that others do not get
PREFIX, DATABASE, BUCKET = "FEDMEM_", "DATABASE_URL", "AWS_"
Origin = Literal["default", "environment", ".env"]

_from_file: dict[str, str] = {}


def keep_files_private() -> None:
    """Let the files and folders that this process makes be read and written by its user alone."""
    os.umask(PRIVATE)


def read_environment() -> None:
    """Put what ``.env`` says of our variables, and a bucket's, into the environment of this process and its children.

    Raises:
        ConfigError: naming file and line if it cannot be read, or says something twice.
    """
    if not FILE.is_file():
        return
    _check_lines()
    values = {name.upper(): value for name, value in dotenv_values(FILE, encoding="utf-8-sig").items() if value}
    for name, value in values.items():
        if (is_ours(name) or name.startswith(BUCKET)) and not os.environ.get(name):
            os.environ[name] = _from_file[name] = value


def is_ours(name: str) -> bool:
    """Say whether a variable of this name is meant for FedMem."""
    return name == DATABASE or name.startswith(PREFIX)


def origin(name: str) -> Origin:
    """Say where the present value of a variable comes from."""
    value = os.environ.get(name)
    if not value:
        return "default"
    return ".env" if _from_file.get(name) == value else "environment"


def _check_lines() -> None:
    first: dict[str, int] = {}
    for binding in _bindings():
        line = binding.original.line + _blank_lines(binding)
        if binding.error:
            raise ConfigError(f"{FILE.absolute()}, line {line}: expected NAME=VALUE")  # it may be a secret
        if binding.key is None:
            continue
        if binding.key in first:
            raise ConfigError(
                f"{FILE.absolute()}: {binding.key} stands twice, in line {first[binding.key]} and line {line}; keep one"
            )
        first[binding.key] = line


def _bindings() -> Iterator[Binding]:
    try:
        with FILE.open(encoding="utf-8-sig") as stream:
            yield from parse_stream(stream)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE.absolute()}: cannot be read ({error}); it must be UTF-8 text") from None


def _blank_lines(binding: Binding) -> int:
    """Count the empty lines that the parser adds to the binding after them."""
    text = binding.original.string
    return text[: len(text) - len(text.lstrip())].count("\n")
