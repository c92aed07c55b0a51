"""P6's arithmetic and its generated users; no memory is measured."""

import numpy as np
import pytest

from benchmarks.memory import generated, ratio


def test_generated_users_are_sparse():
    dataset = generated(50)
    assert dataset.num_users == len(dataset.trainable_users) == 50
    assert dataset.lengths.min() >= 10
    assert dataset.lengths.max() <= 20
    assert len(np.unique(dataset.lengths)) > 3


def test_the_data_are_subtracted():
    few, many = {"peak": 110, "data": 10}, {"peak": 320, "data": 200}
    assert ratio(few, many) == pytest.approx(1.2)
