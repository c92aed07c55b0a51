"""``fedmem db``, and the database that other commands write to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.options import DatabaseUrl, FirstJob, ServiceDir
from cli.screen import answers, notes

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from fedmem.storage.catalogue import CatalogueStore

app = typer.Typer(help="The database's tables.", no_args_is_help=True)


@app.command("upgrade")
def show_upgrade(database_url: DatabaseUrl = None) -> None:
    """Bring the database's tables to this version; makes them where there are none."""
    import migrations
    from fedmem.storage.engine import DEFAULT_URL, parse_url, shown

    if not upgrade(database_url):
        shown_url = shown(parse_url(database_url or DEFAULT_URL))
        notes.print(f"the database {shown_url} is at {migrations.head()}: nothing to do")


@app.command("prepare")
def prepare_services(
    data_dir: ServiceDir = Path("runs/service"), database_url: DatabaseUrl = None, train: FirstJob = True
) -> None:
    """Upgrade, and put the demo into a database without any data set: what `fedmem up` does before it starts."""
    from cli.preparing import prepare
    from fedmem.storage.engine import DEFAULT_URL

    prepare(data_dir, database_url or DEFAULT_URL, train=train)


@app.command("current")
def show_current(database_url: DatabaseUrl = None) -> None:
    """Show the revision that the database's tables are at."""
    import migrations
    from fedmem.storage.engine import DEFAULT_URL, parse_url, shown

    url = database_url or DEFAULT_URL
    revision, newest = migrations.current(url), migrations.head()
    answers.print(revision or "none")
    if revision != newest:
        notes.print(f"{shown(parse_url(url))}: the newest is {newest}; run: fedmem db upgrade")


@contextmanager
def catalogue(url: str | None, *, migrate: bool = False) -> "Iterator[CatalogueStore]":
    """Open the catalogue in a database; ``StorageError`` if it is at another schema and may not be migrated."""
    from fedmem.storage.catalogue import CatalogueStore

    with opened(url, migrate=migrate) as engine:
        yield CatalogueStore(engine)


@contextmanager
def opened(url: str | None, *, migrate: bool = False) -> "Iterator[Engine]":
    """Open a database; ``StorageError`` if it is not there or at another schema, and may not be made or migrated."""
    from fedmem.storage.engine import DEFAULT_URL, check_schema, connect, require

    if not migrate:
        require(url or DEFAULT_URL)
    engine = connect(url or DEFAULT_URL)
    try:
        if migrate:
            upgrade(url)
        check_schema(engine)
        yield engine
    finally:
        engine.dispose()


def upgrade(url: str | None) -> bool:
    """Bring the database to the newest schema and say so; False if it was there."""
    import migrations
    from fedmem.storage.engine import DEFAULT_URL, parse_url, shown

    url = url or DEFAULT_URL
    before, newest = migrations.current(url), migrations.head()
    if before == newest:
        return False
    migrations.upgrade(url)
    what = "was empty: its tables were made" if before is None else f"is upgraded from {before} to {newest}"
    notes.print(f"the database {shown(parse_url(url))} {what}")
    return True
