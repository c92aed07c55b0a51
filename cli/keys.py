"""``fedmem keys``: further keys of the API, kept by name and digest in the file that FEDMEM_KEYS_FILE names."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import AsJson
from cli.screen import answer_json, answers, notes
from fedmem.errors import ConfigError

if TYPE_CHECKING:
    from backend.keys import KeyRing

app = typer.Typer(help="Make, list and remove keys of the API.", no_args_is_help=True)

KeysFile = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", envvar="FEDMEM_KEYS_FILE", help="The file of the keys.")
]
Name = Annotated[str, typer.Argument(help="Whose key it is: letters, digits, dots, dashes; the log has it.")]
RANDOM_BYTES = 32
HEAD = "# Keys of the API, by `fedmem keys`: NAME read|write sha256:DIGEST. The backend takes up a change at once.\n"

CLOSED = (
    "no key is left that reads: only keys that write read now, until there is one (or: fedmem keys remove .. --open)"
)


@app.command()
def new(
    name: Name,
    access: Annotated[Literal["read", "write"], typer.Option(help="read: all but users; write: everything.")] = "read",
    file: KeysFile = None,
) -> None:
    """Make a key and print it, once: the file holds its digest only."""
    from secrets import token_urlsafe

    from backend.keys import NAME, Access, Key, KeyRing, digest

    if not NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name a key: use letters, digits, dots and dashes, 64 at most")
    path = _named(file)
    ring = _read(path)
    if name in ring.keys:
        raise ConfigError(f"{path}: there is a key {name!r} already; remove it first, or give the new one another name")
    key = f"fedmem_{token_urlsafe(RANDOM_BYTES)}"
    made = Key(name, Access[access.upper()], digest(key.encode()))
    _write(path, KeyRing({**ring.keys, name: made}, "closed" if access == "read" else ring.reading))
    notes.print(f"the key of {name}, which may {access}; it is shown this once:")
    answers.print(key)


@app.command("list")
def list_keys(file: KeysFile = None, as_json: AsJson = False) -> None:
    """List the keys by name and by what they may do."""
    keys = [{"name": key.name, "access": key.access.name.lower()} for key in _read(_named(file)).keys.values()]
    if as_json:
        answer_json(keys)
        return
    for key in keys:
        answers.print(f"{key['access']:<6} {key['name']}")
    if not keys:
        notes.print("there is no key yet; make one: fedmem keys new NAME")


@app.command()
def remove(
    name: Name,
    file: KeysFile = None,
    open_: Annotated[bool, typer.Option("--open", help="With the last key that reads: let every caller read.")] = False,
) -> None:
    """Remove a key: who sends it is refused from now on. Without the last one that reads, only keys that write read."""
    path = _named(file)
    before = _read(path)
    if name not in before.keys:
        raise ConfigError(f"{path}: there is no key {name!r}; there are: {', '.join(before.keys) or 'none'}")
    ring = replace(before, keys={other: key for other, key in before.keys.items() if other != name})
    if open_:
        ring = _opened(path, ring)
    _write(path, ring)
    notes.print(f"the key {name} is removed")
    if before.reads and not ring.reads:
        notes.print("every caller may read now" if open_ else CLOSED)


def _opened(path: Path, ring: "KeyRing") -> "KeyRing":
    if ring.reads:
        raise ConfigError(f"{path}: --open goes with the last key that reads; there are: {', '.join(ring.reads)}")
    return replace(ring, reading="open")


def _named(file: Path | None) -> Path:
    if file is None:
        raise ConfigError("no file of keys is named: set FEDMEM_KEYS_FILE (in .env too), or give --file FILE")
    return file


def _read(path: Path) -> "KeyRing":
    from backend.keys import KeyRing, read_keys

    return read_keys(path) if path.exists() else KeyRing()


def _write(path: Path, ring: "KeyRing") -> None:
    """Write the file whole: the backend may read it at any moment."""
    from fedmem.checkpoint.atomic_files import write_bytes, writing

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (HEAD + ring.text()).encode())
