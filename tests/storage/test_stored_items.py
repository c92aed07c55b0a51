"""One damaged row of items spoils nothing but itself."""

import pytest

from fedmem.storage import stored_items
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import Event, InteractionColumns, ItemRow
from fedmem.storage.engine import writing

WHOLE = ItemRow("b", "Film B", ("Drama",), 1999, None, "Film B (1999). Drama")
DAMAGED = ItemRow("a", "Film A", ("Drama",), 2001, "/a.jpg", "Film A (2001). Drama", tags=("gift", "new"))

# What another program may have put into a column, and what is shown of it.
ON_EITHER = {
    "genres = 'null'": {"genres": ()},
    "genres = '5'": {"genres": ()},
    "genres = '{\"Drama\": 1}'": {"genres": ()},
    'genres = \'[1, null, "Film", ["Drama"]]\'': {"genres": ("Film",)},
    "genres = '[\"\\ud800\"]'": {"genres": ("?",)},
    "tags = '5'": {"tags": ()},
    "tags = '[1, \"gift\"]'": {"tags": ("gift",)},
}
ON_SQLITE = {
    "genres = '[\"Drama\"'": {"genres": ()},
    "genres = x'ff00'": {"genres": ()},
    "genres = ''": {"genres": ()},
    "title = x'41ff'": {"title": ""},
    "title = CAST(x'41ff' AS TEXT)": {"title": "A\ufffd"},
    "text = CAST(x'eda080' AS TEXT)": {"text": "\ufffd" * 3},
    "text = x'00'": {"text": ""},
    "year = 'long ago'": {"year": None},
    "year = 1e300": {"year": None},
    "image_path = x'ff'": {"image_path": None},
    "changed_at = 'yesterday', edited_at = 'today', text = x'00'": {"text": ""},
}


@pytest.fixture(autouse=True)
def said():
    stored_items._say.cache_clear()


def damage(engine, change):
    store = CatalogueStore(engine)
    store.write("films", "/data", InteractionColumns(["u", "u"], ["a", "b"], [1.0, 2.0]), [DAMAGED, WHOLE])
    with writing(engine) as connection:
        connection.exec_driver_sql(f"UPDATE items SET {change} WHERE item_id = 'a'")
    return store


def check(store, shown, caplog):
    expected = ItemRow("a", **{name: shown.get(name, getattr(DAMAGED, name)) for name in (
        "title", "genres", "year", "image_path", "text", "tags")})  # fmt: skip
    for _ in range(2):
        assert store.items("films") == [expected, WHOLE]
        assert store.snapshot("films").items == (expected, WHOLE)
        assert store.items_since("films")[1] == [expected, WHOLE]
        assert store.item("films", "a") == expected
        assert store.items_by_id("films", "ab") == {"a": expected, "b": WHOLE}
        assert set(store.find_items("films").items) == {expected, WHOLE}
        assert WHOLE in store.find_items("films", category="Drama").items
        assert WHOLE in store.find_items("films", search="film b").items
        assert set(store.find_items("films", tags=["gift"]).items) == ({expected} if "gift" in expected.tags else set())
    said = ["the row of item a is damaged in the database: import it again, or put it"]
    assert [record.getMessage() for record in caplog.records] == ([] if "\ufffd" in str(shown) else said)
    store.add_feedback("films", [Event("u", "a", 3.0)])
    assert store.write("films", "/data", InteractionColumns(["u"], ["a"], [1.0]), [DAMAGED]).changed_items == 1
    assert store.items("films") == [DAMAGED, WHOLE]


@pytest.mark.parametrize("change", ON_EITHER)
def test_a_damaged_row_is_shown_with_what_it_has(engine, change, caplog):
    check(damage(engine, change), ON_EITHER[change], caplog)


@pytest.mark.parametrize("change", ON_SQLITE)
def test_a_damaged_row_of_sqlite_which_checks_no_types_is_shown_with_what_it_has(sqlite_engine, change, caplog):
    check(damage(sqlite_engine, change), ON_SQLITE[change], caplog)


def test_a_row_without_an_id_is_left_out(sqlite_engine, caplog):
    store = damage(sqlite_engine, "item_id = x'ff'")
    assert store.items("films") == [WHOLE]
    assert store.find_items("films").items == (WHOLE,)
    assert "the row of item b'\\xff' is damaged" in caplog.text
