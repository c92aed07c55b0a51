"""Leave-one-out: a sequence's last item (in time order) is the test target, the last but one the validation target."""

import numpy as np
import numpy.typing as npt

from fedmem.errors import ConfigError

Sequence32 = npt.NDArray[np.int32]

HELD_OUT = 2  # the validation target and the test target
# These and one item to train on.
SHORTEST_SPLIT = HELD_OUT + 1


def check_min_sequence_length(min_sequence_length: int) -> None:
    """Raise ``ConfigError`` unless a sequence of this length has a training item and both targets."""
    if min_sequence_length < SHORTEST_SPLIT:
        raise ConfigError(
            f"data.min_sequence_length = {min_sequence_length} is too small: leave-one-out needs at least "
            f"{SHORTEST_SPLIT} (one item to train on, one to validate, one to test)"
        )


def train_prefix(sequence: Sequence32) -> Sequence32:
    """Return all but the last two items."""
    return sequence[:-2]


def validation_input(sequence: Sequence32) -> Sequence32:
    """Return what is known when the validation target is predicted: the training prefix."""
    return sequence[:-2]


def validation_target(sequence: Sequence32) -> int:
    """Return the last item but one."""
    return int(sequence[-2])


def test_input(sequence: Sequence32) -> Sequence32:
    """Return what is known when the test target is predicted: all but the last item, the validation item included."""
    return sequence[:-1]


def test_target(sequence: Sequence32) -> int:
    """Return the last item."""
    return int(sequence[-1])
