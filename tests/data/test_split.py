"""Leave-one-out on a sequence one can read."""

import numpy as np
import pytest

from fedmem.data import split
from fedmem.errors import ConfigError

SEQUENCE = np.array([7, 3, 9, 1, 4], dtype=np.int32)


def test_leave_one_out():
    assert split.train_prefix(SEQUENCE).tolist() == [7, 3, 9]
    assert split.validation_input(SEQUENCE).tolist() == [7, 3, 9]
    assert split.validation_target(SEQUENCE) == 1
    assert split.test_input(SEQUENCE).tolist() == [7, 3, 9, 1]
    assert split.test_target(SEQUENCE) == 4


def test_shortest_sequence_has_one_training_item():
    assert split.train_prefix(SEQUENCE[: split.SHORTEST_SPLIT]).tolist() == [7]


def test_too_small_a_minimum_is_refused():
    split.check_min_sequence_length(3)
    with pytest.raises(ConfigError, match=r"min_sequence_length = 2 .* at least 3"):
        split.check_min_sequence_length(2)
