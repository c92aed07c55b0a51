"""``fedmem items``: which items of a data set may be recommended."""

from pathlib import Path
from typing import Annotated

import typer

from cli.database import catalogue
from cli.options import AsJson, DatabaseUrl
from cli.screen import answer_json, answers, counted, notes
from fedmem.errors import ConfigError, DataError

app = typer.Typer(help="Hide items, out of stock say, and show them again.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="DATASET", help="As `fedmem data list` shows it.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ITEM..", help="The items' ids.")]
IdFile = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Instead: a file with an id on each line.")]


@app.command()
def hide(name: Name, ids: Ids = None, file: IdFile = None, database_url: DatabaseUrl = None) -> None:
    """Recommend items no more until they are shown again; a running API follows within a second."""
    with catalogue(database_url) as store:
        hidden, _ = store.change_hidden(name, hide=_wanted(ids, file))
    notes.print(f"{counted(hidden, 'item')} of {name} hidden")


@app.command()
def show(name: Name, ids: Ids = None, file: IdFile = None, database_url: DatabaseUrl = None) -> None:
    """Let hidden items be recommended again."""
    with catalogue(database_url) as store:
        _, shown = store.change_hidden(name, show=_wanted(ids, file))
    notes.print(f"{counted(shown, 'item')} of {name} shown again")


@app.command("hidden")
def list_hidden(name: Name, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List the hidden items, one a line: a file for `fedmem items show --file`."""
    with catalogue(database_url) as store:
        _, hidden = store.hidden_since(name)
    if as_json:
        answer_json(sorted(hidden or ()))
        return
    for item_id in sorted(hidden or ()):
        answers.print(item_id)


@app.command()
def remove(
    name: Name,
    item: Annotated[str, typer.Argument(metavar="ITEM", help="An item that no user has taken.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Remove an item for good; one that users have taken can only be hidden."""
    with catalogue(database_url) as store:
        store.delete_item(name, item)
    notes.print(f"{item} is removed from {name}")


def _wanted(ids: list[str] | None, file: Path | None) -> list[str]:
    if bool(ids) == (file is not None):
        raise ConfigError("name the items, or give --file FILE with an id on each line")
    if file is None:
        return ids or []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); a text file with an id on each line is expected") from None
    return [line.strip() for line in lines if line.strip()]
