"""What Alembic runs: the migrations in one transaction, on the database of the caller or of ``DATABASE_URL``."""

import os

from alembic import context
from sqlalchemy import Connection

from fedmem.environment import read_environment
from fedmem.storage.engine import DEFAULT_URL, connect, writing
from fedmem.storage.schema import metadata

# Any number will do that no other program locks: two services that migrate at once on PostgreSQL take turns.
ADVISORY_LOCK = 7_403_914


def migrate(url: str) -> None:
    """Run the migrations that Alembic's command asks for, all or none."""
    engine = connect(url, foreign_keys=False)
    try:
        with writing(engine) as connection:
            _run(connection)
    finally:
        engine.dispose()


def _run(connection: Connection) -> None:
    sqlite = connection.dialect.name == "sqlite"
    if not sqlite:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    # SQLite alters little in place: Alembic's batch mode makes the table anew.
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=sqlite, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


read_environment()
migrate(context.config.attributes.get("url") or os.environ.get("DATABASE_URL") or DEFAULT_URL)
