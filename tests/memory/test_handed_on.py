"""Sums of which every client's part is known: completed, exchanged and subtracted, against counting anew."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmem.memory.handed_on import HandedOn
from fedmem.memory.transitions import TransitionCounts
from tests.memory.test_transitions import ITEMS, histories, same

some_histories = st.lists(histories, min_size=1, max_size=4)


@given(some_histories, st.integers(1, 10), st.data())
def test_whoever_completes_has_handed_on_everything_once(everything, window, data) -> None:
    lengths = [data.draw(st.integers(0, len(history))) for history in everything]
    begun = [history[:length] for history, length in zip(everything, lengths, strict=True)]
    handed_on = HandedOn(TransitionCounts.of(begun, ITEMS, window), np.array(lengths))
    completed = handed_on.completed(everything, window)
    assert same(completed.counts, TransitionCounts.of(everything, ITEMS, window))
    assert same(handed_on.counts, TransitionCounts.of(begun, ITEMS, window)), "the one that is tested stays"
    completed.subtract(0, everything[0], window)
    assert same(completed.counts, TransitionCounts.of([*everything[1:], everything[0][:0]], ITEMS, window))


@given(some_histories, some_histories, st.integers(1, 10), st.integers(0, 12))
def test_other_histories_are_counted_instead(before, now, window, alike) -> None:
    pairs = [(old, np.concatenate([old[:alike], new])) for old, new in zip(before, now, strict=False)]
    handed_on = HandedOn(TransitionCounts.of(before, ITEMS, window), np.zeros(len(before), np.int64))
    handed_on.exchange(pairs, window)
    expected = [new for _, new in pairs] + before[len(pairs) :]
    assert same(handed_on.counts, TransitionCounts.of(expected, ITEMS, window))
    handed_on.exchange([(history, history[:0]) for history in expected], window)
    assert not handed_on.counts
    assert not handed_on.counts.pairs.nnz
    handed_on.exchange([], window)
