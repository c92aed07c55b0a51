"""The flat data set: order, split, cold users, digest."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmem.config import DataConfig
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Interactions, Item
from fedmem.errors import ConfigError


def interactions(rows):
    users, items, timestamps = zip(*rows, strict=True)
    return Interactions(np.array(users, dtype=object), np.array(items, dtype=object), np.array(timestamps))


def dataset(*sequences, num_items=9, min_sequence_length=5):
    return FederatedDataset.from_sequences(sequences, num_items, min_sequence_length=min_sequence_length)


LONG, SHORT = [1, 2, 3, 4, 5, 1], [6, 7, 8, 9]


def test_order_is_by_time_and_file_order_decides_ties():
    rows = [("2", "30", 5), ("1", "9", 7), ("1", "30", 7), ("1", "4", 7), ("1", "10", 3), ("2", "4", 5)]
    data = FederatedDataset.from_interactions(interactions(rows))
    names = [[data.vocabulary.item_id(index) for index in data.history(user)] for user in (0, 1)]
    assert names == [["10", "9", "30", "4"], ["30", "4"]]
    assert data.sequence.dtype == np.int32
    assert data.offsets.dtype == np.int64


def test_ties_stay_in_file_order_however_many_there_are():
    # 300 rows of one time: a sort that is not stable shows here.
    ids = [str(number) for number in np.random.default_rng(0).permutation(300)]
    data = FederatedDataset.from_interactions(interactions([("u", raw, 1) for raw in ids]))
    assert [data.vocabulary.item_id(index) for index in data.history(0)] == ids


def test_interactions_repeated_at_another_time_are_kept():
    data = FederatedDataset.from_interactions(interactions([("u", "a", 1), ("u", "a", 1), ("u", "a", 2)]))
    assert data.history(0).tolist() == [1, 1]
    assert data.duplicates_dropped == 1


def test_items_are_aligned_and_those_without_interactions_stay_out():
    rows = interactions([("u", "10", 1), ("u", "9", 2)])
    data = FederatedDataset.from_interactions(rows, [Item("10", "Ten", text="Ten"), Item("11", "Eleven")])
    assert [item.item_id for item in data.items] == ["9", "10"]
    assert data.item_text == ["", "Ten"]


def test_leave_one_out():
    data = dataset(LONG)
    assert data.training_history(0).tolist() == data.validation_input(0).tolist() == [1, 2, 3, 4]
    assert (data.validation_target(0), data.test_target(0)) == (5, 1)
    assert data.test_input(0).tolist() == [1, 2, 3, 4, 5]


def test_short_users_take_no_part_in_training_but_are_known():
    data = dataset(SHORT, LONG)
    assert data.trainable_users.tolist() == data.evaluated_users.tolist() == [1]
    assert data.training_history(0).tolist() == []
    assert data.history(0).tolist() == SHORT
    assert data.client(0).history.tolist() == []


def test_popularity_counts_training_histories_only():
    data = dataset(LONG, SHORT, [1, 1, 2, 9, 9])
    assert data.training_popularity().tolist() == [0, 3, 2, 1, 1, 0, 0, 0, 0, 0]
    by_hand = np.bincount(np.concatenate([data.training_history(user) for user in range(3)]), minlength=10)
    assert data.training_popularity().tolist() == by_hand.tolist()


def test_no_held_out_item_reaches_the_client():
    data = dataset([1, 2, 3, 4, 5], num_items=6)
    client = data.client(0)
    assert client.history.tolist() == [1, 2, 3]
    drawn = set(client.negatives(300, np.random.default_rng(0)).tolist())
    assert drawn == {4, 5, 6}, "the validation and the test item can be drawn like any unseen item"


def test_cold_users_are_never_trained():
    data = dataset(*[LONG] * 20, SHORT)
    cold = data.with_cold_users(0.25, np.random.default_rng(0))
    assert len(cold.cold_users) == 5
    assert sorted([*cold.cold_users, *cold.trainable_users]) == list(range(20))
    assert all(cold.training_history(user).tolist() == [] for user in cold.cold_users)
    assert cold.training_popularity()[2] == 15
    assert cold.history(cold.cold_users[0]).tolist() == LONG
    assert cold.digest == data.digest
    assert data.cold_users.tolist() == []


def test_cold_users_depend_on_the_generator_alone():
    data = dataset(*[LONG] * 50)
    draws = [data.with_cold_users(0.2, np.random.default_rng(seed)).cold_users.tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ConfigError, match=str(fraction)):
        dataset(LONG).with_cold_users(fraction, np.random.default_rng(0))


def test_min_sequence_length_is_checked():
    with pytest.raises(ConfigError, match="min_sequence_length = 2"):
        dataset(LONG, min_sequence_length=2)


def test_the_digest_names_the_snapshot():
    rows = [("a", "x", 1), ("a", "y", 2), ("b", "x", 1)]
    digest = FederatedDataset.from_interactions(interactions(rows)).digest
    assert len(digest) == 64
    assert FederatedDataset.from_interactions(interactions(rows[::-1])).digest == digest
    other_order = [("a", "x", 3), ("a", "y", 2), ("b", "x", 1)]
    other_name = [("a", "x", 1), ("a", "z", 2), ("b", "x", 1)]
    other_user = [("a", "x", 1), ("b", "x", 2), ("b", "y", 2)]
    digests = {
        FederatedDataset.from_interactions(interactions(each)).digest for each in (other_order, other_name, other_user)
    }
    assert len(digests | {digest}) == 4


def test_ids_that_join_to_the_same_text_have_different_digests():
    rows = [("1", "a", 1), ("1", "bc", 2)]
    others = [("1", "ab", 1), ("1", "c", 2)]
    assert (
        FederatedDataset.from_interactions(interactions(rows)).digest
        != FederatedDataset.from_interactions(interactions(others)).digest
    )


def test_histories_are_views():
    data = dataset(LONG, SHORT)
    assert np.shares_memory(data.history(1), data.sequence)


def test_a_user_who_has_seen_the_whole_catalogue_does_not_train():
    data = FederatedDataset.from_sequences([[1, 2, 3, 1, 2], [1, 2, 1, 2, 3]], num_items=3)
    assert data.trainable_users.tolist() == [1]


def test_no_more_than_the_newest_interactions_are_trained_on():
    data = replace(dataset([1, 2, 3, 4, 5, 6, 7], LONG, SHORT), max_history=3)
    assert data.training_history(0).tolist() == [3, 4, 5]
    assert data.training_lengths.tolist() == [3, 3, 0]
    assert data.training_popularity().tolist() == np.bincount([3, 4, 5, 2, 3, 4], minlength=10).tolist()
    # What is known of a user when a target is predicted stays whole.
    assert (data.validation_input(0).tolist(), data.test_input(0).tolist()) == ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
    assert data.history(0).tolist() == [1, 2, 3, 4, 5, 6, 7]


@given(st.lists(st.lists(st.integers(1, 9), max_size=20), min_size=1, max_size=6), st.integers(1, 20))
def test_the_bound_cuts_every_training_history_from_its_beginning(sequences, most):
    whole = dataset(*sequences, min_sequence_length=3)
    bounded = replace(whole, max_history=most)
    for user in bounded.trainable_users.tolist():
        kept = bounded.training_history(user)
        assert len(kept) == bounded.training_lengths[user] == min(most, len(sequences[user]) - 2)
        assert kept.tolist() == sequences[user][:-2][-most:]
    trained = [bounded.training_history(user) for user in range(len(sequences))]
    assert bounded.training_popularity().tolist() == np.bincount(np.concatenate(trained), minlength=10).tolist()
    assert replace(whole, max_history=20).trainable_users.tolist() == whole.trainable_users.tolist()


def test_a_configuration_decides_on_repeats_and_on_how_much_is_trained_on():
    data = dataset(LONG).configured(DataConfig(repeats="offer", max_history=2))
    assert (data.repeats, data.training_history(0).tolist()) == ("offer", [3, 4])
    assert data.digest == dataset(LONG).digest
