"""What the database takes grows with its rows, and shrinks where its file is written anew."""

from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns
from fedmem.storage.database_size import database_size

ROWS = 20_000


def test_it_grows_with_the_rows(engine):
    empty = database_size(engine)
    rows = [f"u{row % 500}" for row in range(ROWS)], [f"i{row % 300}" for row in range(ROWS)]
    CatalogueStore(engine).write("large", "test", InteractionColumns(*rows, [float(row) for row in range(ROWS)]), [])
    assert database_size(engine) > empty + 20 * ROWS, "two ids and a time take no less"


def test_it_shrinks_where_what_was_removed_is_forgotten(sqlite_engine):
    store = CatalogueStore(sqlite_engine)
    empty = database_size(sqlite_engine)
    rows = [f"u{row % 500}" for row in range(ROWS)], [f"i{row % 300}" for row in range(ROWS)]
    store.write("large", "test", InteractionColumns(*rows, [float(row) for row in range(ROWS)]), [])
    full = database_size(sqlite_engine)
    store.remove("large")
    assert store.forget_deleted()
    assert database_size(sqlite_engine) - empty < (full - empty) / 10
