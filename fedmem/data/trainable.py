"""Whether anybody in a data set can be trained on, and if not, why: one sentence for files and database alike."""

import numpy as np

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.split import SHORTEST_SPLIT
from fedmem.errors import DataError


def require_trainable(dataset: FederatedDataset) -> None:
    """Raise DataError, saying why, where no user can be trained on, or where there is nobody or nothing beside one."""
    if reason := _why_not(dataset):
        raise DataError(f"the data set {dataset.name!r} cannot be trained on: {reason}")


def _why_not(dataset: FederatedDataset) -> str | None:
    if dataset.num_users == 1:
        return f"all of it is of one user ({dataset.vocabulary.user_id(0)!r}), and federated training needs two clients"
    if dataset.num_items == 1:
        return f"all of it is of one item ({dataset.vocabulary.item_id(1)!r}), and there is nothing to rank it against"
    if len(dataset.trainable_users):
        return None
    least = dataset.min_sequence_length
    long_enough = int(np.count_nonzero(dataset.lengths >= least))
    if long_enough:
        who = "the only user" if long_enough == 1 else f"all {long_enough:,} users"
        return (
            f"{who} with data.min_sequence_length = {least} or more interactions took each of its {dataset.num_items:,} "
            "items, so nothing unseen is left to learn from or to recommend; give data with more items"
        )
    longest = int(dataset.lengths.max()) if dataset.num_users else 0
    lower = f", or set data.min_sequence_length={longest}" if longest >= SHORTEST_SPLIT else ""
    return (
        f"no user has data.min_sequence_length = {least} interactions, and the longest of {dataset.num_users:,} "
        f"histories has {longest}; give more data{lower}"
    )
