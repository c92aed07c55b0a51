"""Columns as read, and what is said of an item."""

from pathlib import Path

import numpy as np

from fedmem.data.interactions import Interactions, Item


def text(*values):
    return np.array(values, dtype=object)


def test_exact_duplicates_are_dropped_and_counted():
    rows = Interactions(text("a", "a", "a", "a", "b"), text("x", "x", "x", "y", "x"), np.array([1, 1, 2, 1, 1]), 3, 2)
    kept = rows.without_duplicates()
    assert kept.users.tolist() == ["a", "a", "a", "b"]
    assert kept.items.tolist() == ["x", "x", "y", "x"]
    assert kept.timestamps.tolist() == [1, 2, 1, 1]
    assert (kept.duplicates_dropped, kept.rows_skipped) == (4, 2)


def test_without_repetitions_nothing_changes():
    rows = Interactions(text("a", "a"), text("x", "x"), np.array([1, 2]))
    assert rows.without_duplicates() is rows
    assert len(rows) == 2


def test_an_item_without_a_title_is_called_by_its_id():
    assert Item("17").label == "17"
    assert Item("17", "Alien (1979)").label == "Alien (1979)"


def test_a_picture_does_not_replace_a_picture():
    pictured = Item("17").with_image(Path("17.jpg"))
    assert pictured.image_path == Path("17.jpg")
    assert pictured.with_image(Path("other.jpg")) is pictured
    assert pictured.with_image(None) is pictured


def test_a_picture_that_was_found_is_described(tmp_path):
    item = Item("a", "A", described=frozenset({"title"}))
    assert item.with_image(tmp_path / "a.jpg").described == {"title", "image_path"}
    assert item.with_image(None) is item


def test_the_share_of_users_whose_last_item_is_not_new_goes_by_time():
    users = np.array(["a", "a", "a", "b", "b", "c"], dtype=object)
    items = np.array(["x", "y", "x", "x", "y", "x"], dtype=object)
    assert Interactions(users, items, np.array([1, 2, 3, 1, 2, 1])).repeated_targets() == 1 / 3
    assert Interactions(users, items, np.array([1, 9, 3, 1, 2, 1])).repeated_targets() == 0
    nothing = np.zeros(0, dtype=object)
    assert Interactions(nothing, nothing, np.zeros(0)).repeated_targets() == 0
