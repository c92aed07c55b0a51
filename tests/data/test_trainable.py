"""Why a data set cannot be trained on: a sentence for each reason."""

import pytest

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.trainable import require_several_users, require_trainable
from fedmem.errors import DataError

FULL = [1, 2, 1, 2, 1, 2]


@pytest.mark.parametrize(
    ("sequences", "items", "least", "why"),
    [
        (
            [[1, 2], [3, 4, 1, 2]],
            4,
            5,
            "no user has data.min_sequence_length = 5 interactions .the longest of 2 .* has 4",
        ),
        ([[1, 2], [3, 4, 1, 2]], 4, 5, "or set data.min_sequence_length=4$"),
        ([[1, 2], [1]], 2, 3, "the longest of 2 histories has 2.*give more data$"),
        (
            [FULL, FULL, [1]],
            2,
            5,
            "every one of the 2 users with .* 5 .* has taken all of the 2 items, so nothing unseen",
        ),
        ([FULL, [1, 2]], 2, 5, "the only user with data.min_sequence_length = 5"),
        ([[1] * 6, [1] * 9], 1, 5, "all of the 1 items"),
    ],
)
def test_no_user_to_train_on_is_explained(sequences, items, least, why):
    dataset = FederatedDataset.from_sequences(sequences, items, min_sequence_length=least)
    with pytest.raises(DataError, match=f"^plays.csv: .*{why}"):
        require_trainable(dataset, "plays.csv")


def test_whoever_can_be_trained_on_is_enough():
    require_trainable(FederatedDataset.from_sequences([FULL, [1, 2]], 3), "plays.csv")


def test_one_user_is_no_federation():
    with pytest.raises(DataError, match=r"'one' holds one user, .* at least two clients"):
        require_several_users(FederatedDataset.from_sequences([[1, 2, 3, 4, 5]], 9, name="one"))
    require_several_users(FederatedDataset.from_sequences([[1, 2, 3, 4, 5], [1]], 9))
