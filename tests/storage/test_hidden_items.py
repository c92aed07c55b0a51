"""Items that are hidden, shown and deleted."""

import pytest

from fedmem.errors import ConflictError, UnknownItemError
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import InteractionColumns, ItemRow


@pytest.fixture
def store(engine) -> CatalogueStore:
    store = CatalogueStore(engine, lambda: 1e9)
    items = [ItemRow(item_id, item_id.upper()) for item_id in ("a", "b", "c")]
    store.write("films", "test", InteractionColumns(["u"], ["a"], [1.0]), items)
    return store


def test_what_is_hidden_is_listed_until_it_is_shown(store):
    assert store.hidden_since("films") == (0, frozenset())
    assert store.change_hidden("films", hide=["a", "b", "a"]) == (2, 0)
    assert store.hidden_since("films", 0) == (1, {"a", "b"})
    assert store.hidden_since("films", 1) == (1, None)
    assert store.change_hidden("films", hide=["b", "c"], show=["a"]) == (1, 1)
    assert store.change_hidden("films", hide=["b"], show=["a"]) == (0, 0), "again it changes nothing"
    assert store.hidden_since("films") == (2, {"b", "c"})
    assert store.hidden_of("films", ["a", "c"]) == {"c"}
    assert [row.item_id for row in store.find_items("films", available=False).items] == ["b", "c"]
    assert [row.item_id for row in store.find_items("films", available=True).items] == ["a"]


def test_unknown_items_are_named_and_nothing_is_changed(store):
    with pytest.raises(UnknownItemError, match="no item 'x', 'y'; nothing was changed"):
        store.change_hidden("films", hide=["a", "y", "x"])
    with pytest.raises(ConflictError, match="'b' is to be hidden and to be shown"):
        store.change_hidden("films", hide=["b"], show=["b"])
    assert store.hidden_since("films") == (0, frozenset())


def test_an_item_is_deleted_unless_a_user_has_taken_it(store):
    with pytest.raises(
        ConflictError, match="users have taken the item 'a', and their histories name it: hide it instead"
    ):
        store.delete_item("films", "a")
    store.delete_item("films", "b")
    assert [row.item_id for row in store.items("films")] == ["a", "c"]
    assert store.hidden_since("films")[1] == {"b"}, "models that know it do not offer it"
    with pytest.raises(UnknownItemError, match="no item 'b'"):
        store.delete_item("films", "b")
