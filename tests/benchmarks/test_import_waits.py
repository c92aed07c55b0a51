"""The benchmark of what others wait beside an import measures what it says."""

from benchmarks.import_waits import generated, import_rows
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.engine import connect


def test_a_second_import_brings_rows_that_are_all_new(sqlite_migrated_url):
    for number in (1, 2):
        import_rows(sqlite_migrated_url, "s", 200, number * 10_000_000)
        row = CatalogueStore(connect(sqlite_migrated_url)).dataset("s")
        assert (row.interactions, row.items) == (200 * number, 5_000)


def test_rows_are_drawn_by_their_first():
    first, again, other = (list(generated(50, number).items) for number in (1, 1, 2))
    assert first == again != other
