"""``fedmem db``, and the database that other commands write to."""

from collections.abc import Iterator
from contextlib import contextmanager

import migrations
from cli.screen import answers, notes
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import DEFAULT_URL, check_schema, connect, parse_url, require, shown


@contextmanager
def catalogue(url: str | None, *, migrate: bool = False) -> Iterator[CatalogueStore]:
    """The catalogue in a database; ``StorageError`` where it is at another schema and may not be migrated."""
    if not migrate:
        require(url or DEFAULT_URL)
    engine = connect(url or DEFAULT_URL)
    try:
        if migrate:
            upgrade(url)
        check_schema(engine)
        yield CatalogueStore(engine)
    finally:
        engine.dispose()


def upgrade(url: str | None) -> bool:
    """Bring the database to the newest schema and say so; False if it was there."""
    url = url or DEFAULT_URL
    before, newest = migrations.current(url), migrations.head()
    if before == newest:
        return False
    migrations.upgrade(url)
    what = "was empty: its tables were made" if before is None else f"was at {before}"
    notes.print(f"the database {shown(parse_url(url))} {what}; it is at {newest} now")
    return True


def show_upgrade(url: str | None) -> None:
    """Upgrade, and say so too if nothing was to do."""
    if not upgrade(url):
        notes.print(f"the database {shown(parse_url(url or DEFAULT_URL))} is at {migrations.head()}: nothing to do")


def show_current(url: str | None) -> None:
    """Print the revision of the schema, and what to do about it if it is not the newest."""
    revision, newest = migrations.current(url or DEFAULT_URL), migrations.head()
    answers.print(revision or "none")
    if revision != newest:
        notes.print(f"{shown(parse_url(url or DEFAULT_URL))}: the newest is {newest}; run: fedmem db upgrade")
