"""Newer items in the transition memory: their scores are their kin's, in a small catalogue and in a large one."""

import numpy as np
import pytest

from fedmem.config import TransitionsConfig
from fedmem.memory import transitions
from fedmem.memory.kin import Kin
from fedmem.memory.transitions import TransitionCounts, TransitionTable

ITEMS = 12
KIN = Kin(np.array([[3, 7], [5, 0], [0, 0]]), np.array([[0.75, 0.25], [1, 0], [0, 0]], np.float32))
HISTORY = np.array([1, 4, 2], np.int32)


@pytest.fixture
def table() -> TransitionTable:
    rng = np.random.default_rng(0)
    histories = [rng.permutation(ITEMS)[:8] + 1 for _ in range(20)]
    return TransitionTable.of(TransitionCounts.of(histories, ITEMS, 3), TransitionsConfig())


@pytest.mark.parametrize("small", [True, False])
def test_newer_items_are_scored_as_their_kin_and_others_as_before(table, monkeypatch, small):
    if not small:
        monkeypatch.setattr(transitions, "SMALL_CATALOGUE", 0)
    read = table.read(HISTORY)
    more, wanted = KIN.extended(read, ITEMS), np.arange(1, ITEMS + 1)
    assert (more.items is None) == small
    np.testing.assert_array_equal(more.of(wanted), read.of(wanted))
    three, seven, five = read.of(np.array([3, 7, 5]))
    expected = [0.75 * three + 0.25 * seven, five, 0, 0]
    np.testing.assert_allclose(more.of(np.arange(ITEMS + 1, ITEMS + 5)), expected, rtol=1e-6)
    scores = np.zeros(ITEMS + 4, np.float32)
    more.times(2).add_to(scores)
    np.testing.assert_allclose(scores[ITEMS + 1 :], 2 * np.array(expected[:3]), rtol=1e-6)


def test_the_reasons_of_a_newer_item_add_up_to_its_score(table):
    found = np.array([ITEMS + 1, 3, ITEMS + 3, ITEMS + 2])
    items, added = KIN.reasons(table, HISTORY, found)
    np.testing.assert_array_equal(items, HISTORY[::-1])
    np.testing.assert_allclose(added.sum(0), KIN.extended(table.read(HISTORY), ITEMS).of(found), rtol=1e-5)
    np.testing.assert_array_equal(added[:, 1], table.reasons(HISTORY, found[1:2])[1][:, 0])
