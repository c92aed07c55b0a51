"""Sums of which every client's part is known: completed, exchanged and subtracted, against counting anew."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedmem.config import TransitionsConfig
from fedmem.memory.count_sketch import sketched
from fedmem.memory.handed_on import HandedOn
from fedmem.memory.transitions import TransitionCounts
from tests.memory.test_transitions import ITEMS, histories, same

some_histories = st.lists(histories, min_size=1, max_size=4)
forms = st.sampled_from([TransitionsConfig(), TransitionsConfig(sketch_bits=4, sketch_rows=2)])


def counted(some, window, config) -> TransitionCounts:
    return sketched(TransitionCounts.of(some, ITEMS, window), config)


@given(some_histories, st.integers(1, 10), forms, st.data())
def test_whoever_completes_has_handed_on_everything_once(everything, window, config, data) -> None:
    lengths = [data.draw(st.integers(0, len(history))) for history in everything]
    begun = [history[:length] for history, length in zip(everything, lengths, strict=True)]
    handed_on = HandedOn(counted(begun, window, config), np.array(lengths))
    completed = handed_on.completed(everything, window)
    assert same(completed.counts, counted(everything, window, config))
    assert same(handed_on.counts, counted(begun, window, config)), "the one that is tested stays"
    completed.subtract(0, everything[0], window)
    assert same(completed.counts, counted([*everything[1:], everything[0][:0]], window, config))


@given(some_histories, some_histories, st.integers(1, 10), st.integers(0, 12), forms)
def test_other_histories_are_counted_instead(before, now, window, alike, config) -> None:
    pairs = [(old, np.concatenate([old[:alike], new])) for old, new in zip(before, now, strict=False)]
    handed_on = HandedOn(counted(before, window, config), np.zeros(len(before), np.int64))
    handed_on.exchange(pairs, window)
    expected = [new for _, new in pairs] + before[len(pairs) :]
    assert same(handed_on.counts, counted(expected, window, config))
    handed_on.exchange([(history, history[:0]) for history in expected], window)
    assert not handed_on.counts
    assert not handed_on.counts.pairs.nnz
    handed_on.exchange([], window)
