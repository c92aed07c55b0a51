"""Raw ids to indices and back."""

import pytest

from fedmem.data.vocabulary import Vocabulary, sorted_ids
from fedmem.errors import DataError, UnknownUserError


def test_numeric_ids_are_in_numeric_order():
    assert sorted_ids(["10", "9", "2", "9"]) == ("2", "9", "10")


def test_other_ids_are_in_lexicographic_order():
    assert sorted_ids(["b", "10", "9", "a"]) == ("10", "9", "a", "b")


@pytest.mark.parametrize("ids", [["-1", "3"], ["1.5", "3"], ["²", "3"]])
def test_what_is_no_whole_number_is_text(ids):
    assert sorted_ids(ids) == tuple(sorted(ids))


def test_ids_that_are_one_number_stay_two_items():
    assert sorted_ids(["7", "07", "1"]) == ("1", "07", "7")


def test_order_does_not_depend_on_appearance():
    assert Vocabulary.from_ids("cab", "zyx") == Vocabulary.from_ids("abc", "xyz")


def test_indices_and_ids_are_inverse():
    vocabulary = Vocabulary.from_ids(["u2", "u1"], ["30", "4", "200"])
    assert [vocabulary.item_index(raw) for raw in ("4", "30", "200")] == [1, 2, 3]
    assert [vocabulary.item_id(index) for index in (1, 2, 3)] == ["4", "30", "200"]
    assert [vocabulary.user_id(vocabulary.user_index(raw)) for raw in ("u1", "u2")] == ["u1", "u2"]
    assert (vocabulary.num_users, vocabulary.num_items) == (2, 3)


def test_unknown_ids_are_named():
    vocabulary = Vocabulary.from_ids(["u1"], ["4"])
    with pytest.raises(DataError, match="no item '5'"):
        vocabulary.item_index("5")
    with pytest.raises(UnknownUserError, match="no user 'stranger'"):
        vocabulary.user_index("stranger")


@pytest.mark.parametrize("index", [0, -1, 2])
def test_an_item_index_outside_the_catalogue_is_refused(index):
    with pytest.raises(DataError, match=f"item index {index} is outside 1..1"):
        Vocabulary.from_ids(["u1"], ["4"]).item_id(index)


@pytest.mark.parametrize("index", [-1, 1])
def test_a_user_index_outside_the_data_set_is_refused(index):
    with pytest.raises(UnknownUserError, match=f"user index {index} is outside 0..0"):
        Vocabulary.from_ids(["u1"], ["4"]).user_id(index)
