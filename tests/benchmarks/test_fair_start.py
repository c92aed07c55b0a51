"""The parts of the measurement of a new item's start: places, cases, gains."""

import numpy as np
import pytest

from benchmarks.fair_start import Users, fair_start, gains_of, next_item, place

# Items 1 to 4 were trained, 5 and 6 are new; 2 and 3 are the kin of 5, and 6 is like none.
KIN = np.array([[2, 3], [0, 0]])
HIDDEN = -np.inf


def test_new_items_and_their_kin_are_placed_for_those_who_took_one_of_these_last():
    scores = [
        np.array([HIDDEN, 1, HIDDEN, 5, 4, 3, 9.0]),  # took 2 last: 5 is fourth, of its kin 3 is second
        np.array([HIDDEN, HIDDEN, 2, 3, 4, 5, 6.0]),  # took 1 last: no case
        np.array([HIDDEN, 1, 7, HIDDEN, 4, HIDDEN, 2]),  # took 3 last, and 5 before: no case either
    ]
    histories = [np.array([2]), np.array([1]), np.array([3])]
    users = Users(histories, [np.array([2]), np.array([1]), np.array([5, 3])], np.array([4, 4, 4]))
    found = fair_start(scores, users, KIN, first=5)
    assert found["cases"] == 1
    assert found["new"] == {"median_place": 4, "share_in_ten": 1}
    assert found["kin"] == {"median_place": 2, "share_in_ten": 1}


def test_gains_are_ndcg_at_ten_of_one_item():
    ranks = np.array([1.0, 3, 10, 11])
    np.testing.assert_allclose(gains_of(ranks), [1, 0.5, 1 / np.log2(11), 0])
    means = next_item(ranks, np.array([True, True, False, False]))
    assert means == {"all": pytest.approx(0.4473, abs=1e-4), "new": 0.75, "others": pytest.approx(0.1445, abs=1e-4)}


def test_a_place_counts_what_is_ahead():
    assert place(np.array([HIDDEN, 3.0, 1, 2]), 2) == 3
