"""``fedmem data``: data sets fetched, made, and in the database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from cli.database import catalogue
from cli.options import AsJson, DatabaseUrl, ServiceDir, Yes, runs_in
from cli.reading import Reading, with_reading
from cli.removing import ask, megabytes, remove_jobs, show_removable
from cli.screen import answer_json, answers, counted, download, in_utc, notes, stages
from cli.unnamed_requests import what_becomes_of_them
from fedmem.errors import StorageError
from fedmem.identifiers import dataset_name_of

if TYPE_CHECKING:
    from fedmem.storage.catalogue import CatalogueStore

IMPORTED = "imported (UTC)"

app = typer.Typer(help="Fetch or make data sets, and bring them into the database.", no_args_is_help=True)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="ml-100k, ml-1m, ml-latest-small or sasrec-ml-1m.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that receives DIR/NAME.")] = Path("data"),
) -> None:
    """Download a public data set from its own site and verify its checksums."""
    from fedmem.data import fetch

    source = fetch.source_of(name)
    with download(name) as progress:
        folder = fetch.fetch(source, out, progress=progress)
    notes.print(source.licence)
    answers.print(f"{folder}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")] = Path("data/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes another catalogue.")] = 42,
) -> None:
    """Make the embedded catalogue: films, drawn covers, and users whose tastes drift. Needs no network."""
    from fedmem.data.demo import write_demo

    with stages() as progress:
        folder = write_demo(out, seed=seed, progress=lambda done, total: progress("drawing covers", done, total))
    answers.print(f"{folder}")


def _name_of(path: Path) -> str:
    """Name a data set after its file, as the dashboard proposes it, or after its folder."""
    return path.name if path.is_dir() else dataset_name_of(path.name)


@app.command("import")
@with_reading
def import_files(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file or folder of interactions.")],
    name: Annotated[
        str | None, typer.Option(help="Of the data set; default the file's, up to its first dot, or the folder's.")
    ] = None,
    *,
    reading: Reading,
    repeats: Annotated[
        Literal["hide", "offer"] | None,
        typer.Option(help="Whether jobs on it offer users again what they have taken; default as it was."),
    ] = None,
    overwrite_edits: Annotated[
        bool, typer.Option("--overwrite-edits", help="Take the file's word for items edited by PUT /items too.")
    ] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write interactions, titles and pictures to the database, all or nothing.

    Again adds what is new and updates what the files describe: what they do not name stays as it is, edited items stay
    edited, and deleted users stay deleted.
    """
    from cli.importing import run_import
    from fedmem.data.formats import read_dataset
    from fedmem.storage.catalogue import check_name

    name = _name_of(path.resolve()) if name is None else name
    check_name(name)
    interactions, items = read_dataset(path, **reading.arguments())
    with catalogue(database_url, migrate=True) as store:
        refused = what_becomes_of_them(store.engine, name)
        run_import(
            store, name, path, interactions, items, overwrite_edits=overwrite_edits, repeats=repeats, as_json=as_json
        )
    if refused:
        notes.print(refused)


@app.command("list")
def show_datasets(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """List the data sets in the database, with their counts."""
    from backend.damaged_rows import shown
    from backend.operation_rows import dataset_of

    with catalogue(database_url) as store:
        rows = list(shown(dataset_of, store.datasets()))
    if as_json:
        answer_json([row.model_dump(mode="json") for row in rows])
        return
    if not rows:
        notes.print("no data set yet; import one: fedmem data import PATH")
        return
    table = Table()
    for column in ("name", "users", "items", "interactions", IMPORTED, "from"):
        table.add_column(column, justify="left" if column in ("name", IMPORTED, "from") else "right")
    for row in rows:
        counts = (f"{count:,}" for count in (row.users, row.items, row.interactions))
        table.add_row(row.name, *counts, in_utc(row.imported_at), row.source)
    answers.print(table)


@app.command()
def readmit(
    name: Annotated[str, typer.Argument(help="The data set, as `fedmem data list` shows it.")],
    user: Annotated[str, typer.Argument(help="The id of a user who was deleted.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Let a deleted user come back with their past: the next import of a file that holds it brings it."""
    with catalogue(database_url) as store:
        store.readmit_user(name, user)
    notes.print(f"user {user} of {name} may come back; import again, or send feedback", markup=False)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="As `fedmem data list` shows it.")],
    force: Annotated[
        bool, typer.Option("--force", help="With all jobs on it and their models, the one in service too.")
    ] = False,
    yes: Yes = False,
    data_dir: ServiceDir = Path("runs/service"),
    database_url: DatabaseUrl = None,
) -> None:
    """Remove a data set from the database, unless a job refers to it; with --force its jobs too, shown with their disk.

    What the database takes is shown before and after. A running API lets the data set go within a second. Files that
    it was imported from stay.
    """
    from fedmem.checkpoint.erasure import erase_texts
    from fedmem.storage.database_size import database_size
    from fedmem.storage.job_removal import JobRemoval

    with catalogue(database_url) as store:
        row = store.dataset(name)
        removal = JobRemoval(store.engine, runs_in(data_dir))
        jobs = removal.of_dataset(name)
        found = removal.look(jobs, even_in_service=True) if force else []
        if found:
            show_removable(found)
        if force or not jobs:  # else it is refused
            counts = f"{counted(row.users, 'user')}, {counted(row.items, 'item')}"
            notes.print(f"{name}: {counts}, {counted(row.interactions, 'interaction')}")
            notes.print(f"the database of all data sets takes {megabytes(database_size(store.engine))}")
            ask(f"Remove {name} for good?", yes=yes)
        remove_jobs(removal, [one.job.id for one in found], f"with {name}", even_in_service=True)
        store.remove(name)
        erase_texts(data_dir)
        notes.print(f"{name} is removed")
        _give_disk_back(store)
        notes.print(f"the database takes {megabytes(database_size(store.engine))} now")


def _give_disk_back(store: "CatalogueStore") -> None:
    """Have SQLite's file written anew without what was removed; where that must wait, a running API does it."""
    try:
        done = store.forget_deleted()
    except StorageError as error:
        notes.print(f"its rows are still in the database's file, which a running API writes anew later: {error}")
        return
    if not done:
        notes.print("the database is in use: a running API writes its file anew, without the rows, once it is not")
