"""Where the users and items of one snapshot stand in a newer one of the same data set: by their ids."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmem.data.federated_dataset import FederatedDataset

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Renumbering:
    """Indices in the newer snapshot.

    Attributes:
        items: of each item of the older one [I + 1], 0 where it is gone; the padding stays.
        users: of each user of the older one [U], −1 where the user is gone.
        num_items: I of the newer one.
        num_users: U of the newer one.
    """

    items: Indices
    users: Indices
    num_items: int
    num_users: int

    @classmethod
    def of(cls, before: FederatedDataset, after: FederatedDataset, gone: Collection[str] = ()) -> "Renumbering":
        """Find them; ``gone`` are ids of users of the older one that are others in the newer, if they are there."""
        others = set(gone)
        items = {item_id: index for index, item_id in enumerate(after.vocabulary.items, start=1)}
        users = {user_id: index for index, user_id in enumerate(after.vocabulary.users) if user_id not in others}
        return cls(
            np.array([0, *(items.get(item_id, 0) for item_id in before.vocabulary.items)], np.int64),
            np.array([users.get(user_id, -1) for user_id in before.vocabulary.users], np.int64),
            after.num_items,
            after.num_users,
        )

    @property
    def kept_items(self) -> Indices:
        """The items of the older snapshot that the newer one has, by their older indices."""
        return np.flatnonzero(self.items)

    @property
    def new_items(self) -> Indices:
        """The items of the newer snapshot that the older one had not."""
        return np.setdiff1d(np.arange(1, self.num_items + 1), self.items)
