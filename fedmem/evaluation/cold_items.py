"""New items: a share of the catalogue that nothing was trained on, ranked for each user among themselves.

All interactions with them are taken out of the data, those in the middle of a history too, before anything else is done
with it; so a model knows of them what a catalogue says, as of an item that is put into service today. A user's ranking
holds the new items alone, and right are those that the user took at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.data.vocabulary import Vocabulary
from fedmem.errors import ConfigError, DataError
from fedmem.evaluation.ranking_metrics import FloatArray, IntArray

K = 20


@dataclass(frozen=True, eq=False)
class HeldOutItems:
    """Data without some of its items.

    Attributes:
        dataset: what is left, to train on.
        items: the C items that were taken out.
        users: those who are trained on and took one of these, as indices of ``dataset`` [B].
        taken: which of the items they took [B, C].
    """

    dataset: FederatedDataset
    items: tuple[Item, ...]
    users: IntArray
    taken: npt.NDArray[np.bool_]

    def among(self, users: IntArray) -> "HeldOutItems":
        """Keep of the users those that are among these."""
        kept = np.isin(self.users, users)
        return replace(self, users=self.users[kept], taken=self.taken[kept])


class NewItemScorer(Protocol):
    """Scores items that it was not trained with."""

    def score_new(self, users: IntArray, items: Sequence[Item]) -> npt.NDArray[np.floating]:
        """Return scores [B, C] of these items for users [B], greater is better."""
        ...


def hold_out_items(dataset: FederatedDataset, share: float, rng: np.random.Generator) -> HeldOutItems:
    """Take this share of the items out of the data, drawn at random.

    Raises:
        ConfigError: if the share is not between 0 and 1, or so small that it is no item.
        DataError: if none of the users that are left took one of them.
    """
    count = round(share * dataset.num_items) if 0 < share < 1 else 0
    if not 0 < count < dataset.num_items:
        raise ConfigError(f"a share of {share} of {dataset.num_items} items cannot be held out: give one such as 0.1")
    drawn = np.sort(rng.choice(dataset.num_items, size=count, replace=False)) + 1
    left = _without_items(dataset, drawn)
    users = left.trainable_users
    taken = np.array([np.isin(drawn, dataset.history(user)) for user in users.tolist()]).reshape(len(users), count)
    took_some = taken.any(axis=1)
    if not took_some.any():
        raise DataError(f"no user of {dataset.name!r} took one of the {count} held-out items: hold out more of them")
    held_out = tuple(dataset.items[item - 1] for item in drawn.tolist())
    return HeldOutItems(left, held_out, users[took_some], taken[took_some])


def _without_items(dataset: FederatedDataset, items: IntArray) -> FederatedDataset:
    """Number the other items anew; users keep their index, some without any item."""
    owners = np.repeat(np.arange(dataset.num_users), dataset.lengths)
    left, kept = np.setdiff1d(np.arange(1, dataset.num_items + 1), items), ~np.isin(dataset.sequence, items)
    number = np.zeros(dataset.num_items + 1, np.int32)
    number[left] = np.arange(1, len(left) + 1)
    ids = tuple(dataset.vocabulary.items[item - 1] for item in left.tolist())
    return replace(
        dataset,
        vocabulary=Vocabulary(dataset.vocabulary.users, ids),
        items=tuple(dataset.items[item - 1] for item in left.tolist()),
        offsets=np.concatenate([[0], np.cumsum(np.bincount(owners[kept], minlength=dataset.num_users))]),
        sequence=number[dataset.sequence[kept]],
        digest="",
    )


def ndcg_of_sets(scores: npt.NDArray[np.floating], taken: npt.NDArray[np.bool_], k: int = K) -> FloatArray:
    """Compute NDCG@k [B] of scores [B, C] where several items are right: DCG over that of the best order.

    Items of one score share their places: each counts with the mean discount of the places that they take together.
    """
    discounts = np.where(np.arange(scores.shape[1]) < k, 1 / np.log2(np.arange(scores.shape[1]) + 2), 0.0)
    summed = np.concatenate([[0.0], np.cumsum(discounts)])
    ideal = summed[taken.sum(axis=1)]
    found = np.empty(len(scores))
    for row, (one, right) in enumerate(zip(scores, taken, strict=True)):
        _, group, sizes = np.unique(-one, return_inverse=True, return_counts=True)
        ends = np.cumsum(sizes)
        by_group = (summed[ends] - summed[ends - sizes]) / sizes
        found[row] = by_group[group][right].sum()
    gains: FloatArray = found / ideal
    return gains


def evaluate_new_items(held_out: HeldOutItems, scorer: NewItemScorer) -> FloatArray:
    """Compute NDCG@20 among the new items of every user who took one [B]."""
    return ndcg_of_sets(scorer.score_new(held_out.users, held_out.items), held_out.taken)
