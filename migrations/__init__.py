"""Alembic migrations: the only creator of tables."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from fedmem.errors import StorageError
from fedmem.storage.engine import connect, parse_url, schema_revision, shown


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a revision, the newest by default; one that is there already is left as it is.

    Raises:
        StorageError: if it cannot be written, or was made by a newer version of FedMem.
    """
    try:
        command.upgrade(_config(url), revision)
    except CommandError as error:
        raise _unknown_revision(url, error) from None


def downgrade(url: str, revision: str = "base") -> None:
    """Take a database back to an earlier revision; ``base`` removes every table and what is in it.

    Raises:
        StorageError: if it cannot be written, or was made by a newer version of FedMem.
    """
    try:
        command.downgrade(_config(url), revision)
    except CommandError as error:
        raise _unknown_revision(url, error) from None


def current(url: str) -> str | None:
    """Return the revision that a database is at, None if it holds nothing yet."""
    engine = connect(url)
    try:
        return schema_revision(engine)
    finally:
        engine.dispose()


def head() -> str | None:
    """Return the newest revision."""
    return ScriptDirectory.from_config(_config("")).get_current_head()


def knows(revision: str) -> bool:
    """Say whether this version can bring a database from a revision to the newest."""
    return revision in {each.revision for each in ScriptDirectory.from_config(_config("")).walk_revisions()}


def _config(url: str) -> Config:
    """Return Alembic's settings without alembic.ini, which an installed package lacks, for any working directory."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def _unknown_revision(url: str, error: CommandError) -> StorageError:
    return StorageError(
        f"the database {shown(parse_url(url))} cannot be migrated: {error}. "
        "A newer FedMem may have made it: use that version, or another database."
    )
