"""Segments cover the history once; negatives know the training history only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.data.client_dataset import ClientDataset


def client(n, num_items=1000):
    return ClientDataset(np.arange(1, n + 1, dtype=np.int32), num_items)


def pieces(segments):
    """The (start, items) of every segment, padding removed."""
    return [
        (int(start), row[:length].tolist())
        for row, start, length in zip(segments.items, segments.start, segments.length, strict=True)
    ]


@given(st.integers(0, 200), st.integers(1, 60), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 2**32 - 1))
def test_every_position_is_a_target_exactly_once(n, max_seq_len, crop_probability, seed):
    segments = client(n).segments(max_seq_len, crop_probability, np.random.default_rng(seed))
    positions = [start + column for start, items in pieces(segments) for column in range(len(items))]
    assert sorted(positions) == list(range(n))
    # Position p of this history holds item p + 1: the items stand where start says, and the rest is padding.
    assert all(items == list(range(start + 1, start + len(items) + 1)) for start, items in pieces(segments))
    assert segments.items.shape == (len(segments.start), max_seq_len + 1)
    assert np.count_nonzero(segments.items) == n
    assert np.all(segments.length >= 1)
    assert segments.items.dtype == segments.start.dtype == segments.length.dtype == np.int32


@pytest.mark.parametrize("n", [1, 5, 6])
def test_a_short_history_is_one_segment(n):
    assert pieces(client(n).segments(5, 0.0, np.random.default_rng(0))) == [(0, list(range(1, n + 1)))]


def test_a_long_history_is_cut_at_a_random_offset():
    firsts = {len(pieces(client(20).segments(4, 0.0, np.random.default_rng(seed)))[0][1]) for seed in range(100)}
    assert firsts == {1, 2, 3, 4, 5}


def test_only_the_ends_of_a_long_history_are_shorter_than_a_segment():
    for seed in range(30):
        lengths = client(23).segments(4, 0.0, np.random.default_rng(seed)).length
        assert np.all(lengths[1:-1] == 5)


def test_cropping_cuts_a_segment_once_at_any_inner_point():
    cuts = [client(5).segments(10, 1.0, np.random.default_rng(seed)).start.tolist() for seed in range(100)]
    assert {tuple(cut) for cut in cuts} == {(0, 1), (0, 2), (0, 3), (0, 4)}


def test_cropping_has_the_given_probability():
    cut = [len(client(5).segments(10, 0.7, np.random.default_rng(seed)).start) - 1 for seed in range(2000)]
    # Six standard deviations of the mean of 2,000 draws are .06.
    assert abs(np.mean(cut) - 0.7) < 0.06


def test_one_item_cannot_be_cropped():
    assert pieces(client(1).segments(10, 1.0, np.random.default_rng(0))) == [(0, [1])]


def test_the_generator_alone_decides():
    cuts = [pieces(client(100).segments(7, 0.5, np.random.default_rng(seed))) for seed in (3, 3, 4)]
    assert cuts[0] == cuts[1]
    assert cuts[0] != cuts[2]


def test_negatives_exclude_the_training_history_only():
    drawn = client(4, num_items=6).negatives(200, np.random.default_rng(0))
    assert set(drawn.tolist()) == {5, 6}
