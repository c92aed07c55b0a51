"""Whether a data set can be trained on, and if not, why: one sentence for files and database alike."""

import numpy as np

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.split import SHORTEST_SPLIT
from fedmem.errors import DataError


def require_trainable(dataset: FederatedDataset, source: str) -> None:
    """Raise DataError where no user can be trained on, naming what was read and saying why."""
    if not len(dataset.trainable_users):
        raise DataError(f"{source}: {_why_none(dataset)}")


def require_several_users(dataset: FederatedDataset) -> None:
    """Raise DataError if only one user's rows are left."""
    if dataset.num_users == 1:
        raise DataError(
            f"the data set {dataset.name!r} holds one user, and federated training "
            "needs at least two clients; give data with more users"
        )


def _why_none(dataset: FederatedDataset) -> str:
    least = dataset.min_sequence_length
    long_enough = int(np.count_nonzero(dataset.lengths >= least))
    if long_enough:
        who = "the only user" if long_enough == 1 else f"every one of the {long_enough:,} users"
        return (
            f"{who} with data.min_sequence_length = {least} or more interactions has taken all of the "
            f"{dataset.num_items:,} items, so nothing unseen is left to learn from or to recommend; give more items"
        )
    longest = int(dataset.lengths.max()) if dataset.num_users else 0
    lower = f", or set data.min_sequence_length={longest}" if longest >= SHORTEST_SPLIT else ""
    return (
        f"no user has data.min_sequence_length = {least} interactions (the longest of {dataset.num_users:,} histories "
        f"has {longest:,}), so there is nothing to train on; give more data{lower}"
    )
