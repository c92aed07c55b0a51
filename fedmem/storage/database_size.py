"""What the database takes on its disk."""

from sqlalchemy import Engine, text

from fedmem.storage.engine import reading

SQLITE = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
POSTGRESQL = "SELECT pg_database_size(current_database())"


def database_size(engine: Engine) -> int:
    """Return the bytes of the whole database, of all data sets together; of SQLite without its log."""
    with reading(engine) as connection:
        found: int = connection.execute(text(SQLITE if engine.dialect.name == "sqlite" else POSTGRESQL)).scalar_one()
        return found
