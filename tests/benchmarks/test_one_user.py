"""The benchmark of the longest history measures what it says."""

from benchmarks.one_user import LENGTHS, with_one_long
from benchmarks.simulate import configured


def test_one_user_is_long_and_trains_on_no_more_than_the_setting_says():
    for length in LENGTHS[:2]:
        dataset = with_one_long(length).configured(configured().data)
        assert dataset.lengths.max() == length
        assert sorted(dataset.lengths)[-2] <= 20
        assert dataset.training_lengths.max() <= configured().data.max_history
